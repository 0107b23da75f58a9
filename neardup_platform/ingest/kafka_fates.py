"""What became of embeddings that were published: decided, repeated, or dead letters with their reasons.

Three signs, none of which needs the worker to be on this machine: the positions that the API says are committed, the
letters on the dead-letter topic that name a place where one of ours lies, and the images that the API answers.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from neardup_platform.dead_letters.kafka_letters import Letters
from neardup_platform.errors import ServerUnavailable
from neardup_platform.ingest.kafka_sender import Places
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire import neardup_pb2 as pb

_POLL_S = 0.1
_AGAIN_S = 0.5
# Letters are published after the commit that names them. The worker's heartbeat says when none are left; where it
# always has something to publish, this long is waited.
_LETTERS_S = 30.0

# The event time of an image that is readable; None where it is not.
AskTime = Callable[[str], int | None]
AskStatus = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that ended as a dead letter."""

    image_id: str
    reason: str
    detail: str
    place: str


@dataclass(slots=True)
class Fates:
    """What became of them.

    Attributes:
        decided: images that are readable now.
        repeated: of these, those that had the same embeddings before.
        dead: messages refused, by place.
    """

    decided: int = 0
    repeated: int = 0
    dead: dict[str, Dead] = field(default_factory=dict)


class Follower:
    """Follows what is published from its making on.

    Args:
        settings: of Kafka, resolved.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._behind = Letters(settings, 0).ends

    def fates(
        self,
        images: Mapping[str, int],
        places: Places,
        ask_status: AskStatus,
        ask_time: AskTime,
        timeout_s: float,
        progress: Callable[[int], None],
    ) -> Fates:
        """Wait until every message has a fate.

        Args:
            images: ids published, with their event times.
            places: where their messages lie.
            progress: called with the number of images dealt with since the last call.

        Raises:
            ServerUnavailable: not within `timeout_s`; the text says what is missing.
        """
        deadline = time.monotonic() + timeout_s
        self._wait_until_read(places, ask_status, deadline, timeout_s)
        self._wait_for_letters(ask_status, deadline)
        fates, open_ids = Fates(), dict(images)
        while True:
            fates.dead |= {dead.place: dead for dead in self._dead(images, places)}
            refused = {dead.image_id for dead in fates.dead.values()}
            for image_id in list(open_ids):
                at_ms = ask_time(image_id)
                if at_ms is not None and image_id not in refused:
                    fates.decided += 1
                    fates.repeated += at_ms != images[image_id]
                elif image_id not in refused:
                    continue
                del open_ids[image_id]
                progress(1)
            if not open_ids:
                return fates
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"{fates.decided} of {len(images)} images decided after {timeout_s:.0f} s, one that is not: "
                    f"{next(iter(open_ids))!r}; nothing is lost: see `neardup status` and `neardup dead-letter list`"
                )
            time.sleep(_AGAIN_S)

    def _wait_until_read(self, places: Places, ask_status: AskStatus, deadline: float, timeout_s: float) -> None:
        while True:
            positions = ask_status()["positions"]
            behind = {
                f"{topic}[{number}]": end - positions.get(f"{topic}[{number}]", first)
                for (topic, number), (first, end) in places.spans.items()
            }
            left = sum(max(0, messages) for messages in behind.values())
            if not left:
                return
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"{left} of the messages sent are not decided after {timeout_s:.0f} s; they are in Kafka and not "
                    "lost: see `neardup status`"
                )
            time.sleep(_POLL_S)

    def _wait_for_letters(self, ask_status: AskStatus, deadline: float) -> None:
        """Until a heartbeat made after the last commit of ours says that everything is published."""
        begun = time.monotonic()
        while time.monotonic() < min(deadline, begun + _LETTERS_S):
            worker = ask_status()["worker"]
            since_s = time.monotonic() - begun
            if worker and worker["heartbeat_age_s"] < since_s and not worker["figures"].get("outbox"):
                return
            time.sleep(_POLL_S)

    def _dead(self, images: Mapping[str, int], places: Places) -> Iterator[Dead]:
        for letter in Letters(self._settings, 0, self._behind).read():
            image_id = letter.key.decode(errors="replace")
            if image_id in images and places.has((letter.topic, letter.partition), letter.offset):
                yield Dead(image_id, letter.reason, letter.detail, _place(letter))


def _place(letter: pb.DeadLetter) -> str:
    return f"{letter.topic}[{letter.partition}]@{letter.offset}"
