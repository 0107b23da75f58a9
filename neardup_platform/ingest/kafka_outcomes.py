"""The outcome of published embeddings: decided, repeated, or dead letters with their reasons.

It is derived from three sources, none of which requires the worker to be on this machine: the positions that the API
reports as committed, the letters on the dead-letter topic that name one of our messages, and the images that the API
returns.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from neardup_platform.dead_letters.kafka_letters import Letters
from neardup_platform.errors import ServerUnavailable
from neardup_platform.ingest.kafka_sender import Places
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire import neardup_pb2 as pb

_POSITIONS_EVERY_S = 0.1
_IMAGES_EVERY_S = 0.5
# Letters are published after the commit that names them. The worker's heartbeat shows when none are left; if the worker
# always has something to publish, this is how long to wait.
_LETTERS_S = 30.0

# The event time of a readable image; None if it is not readable.
ReadTime = Callable[[str], int | None]
ReadStatus = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that became a dead letter."""

    image_id: str
    reason: str
    detail: str
    place: str


@dataclass(slots=True)
class Outcomes:
    """The outcome of the published images.

    Attributes:
        decided: number of images that are readable.
        repeated: how many of them had the same embeddings before.
        dead: refused messages, by place.
    """

    decided: int = 0
    repeated: int = 0
    dead: dict[str, Dead] = field(default_factory=dict)


class Follower:
    """Follows messages that are published after its creation.

    Args:
        settings: of Kafka, resolved.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._letters_before = Letters(settings, 0).ends

    def outcomes(
        self,
        images: Mapping[str, int],
        places: Places,
        read_status: ReadStatus,
        read_time: ReadTime,
        timeout_s: float,
        progress: Callable[[int], None],
    ) -> Outcomes:
        """Wait until every message has an outcome.

        Args:
            images: published ids with their event times.
            places: where their messages are.
            progress: called with the number of images decided or refused since the last call.

        Raises:
            ServerUnavailable: not within `timeout_s`; the message says what is missing.
        """
        deadline = time.monotonic() + timeout_s
        unread = _wait_for_zero(lambda: _unread(places, read_status()["positions"]), _POSITIONS_EVERY_S, deadline)
        if unread:
            raise ServerUnavailable(
                f"{unread} of the messages sent are not decided after {timeout_s:.0f} s; they are in Kafka and not "
                "lost: see `neardup status`"
            )
        _wait_for_letters(read_status, deadline)
        outcomes, undecided = Outcomes(), dict(images)

        def update() -> int:
            outcomes.dead |= {dead.place: dead for dead in self._dead(images, places)}
            refused = {dead.image_id for dead in outcomes.dead.values()}
            for image_id in list(undecided):
                at_ms = None if image_id in refused else read_time(image_id)
                if at_ms is not None:
                    outcomes.decided += 1
                    outcomes.repeated += at_ms != images[image_id]
                if at_ms is not None or image_id in refused:
                    del undecided[image_id]
                    progress(1)
            return len(undecided)

        if _wait_for_zero(update, _IMAGES_EVERY_S, deadline):
            raise ServerUnavailable(
                f"{outcomes.decided} of {len(images)} images decided after {timeout_s:.0f} s, not decided is for "
                f"example {next(iter(undecided))!r}; nothing is lost: see `neardup status` and "
                "`neardup dead-letter list`"
            )
        return outcomes

    def _dead(self, images: Mapping[str, int], places: Places) -> Iterator[Dead]:
        for letter in Letters(self._settings, 0, self._letters_before).read():
            image_id = letter.key.decode(errors="replace")
            if image_id in images and places.has((letter.topic, letter.partition), letter.offset):
                yield Dead(image_id, letter.reason, letter.detail, _place(letter))


def _unread(places: Places, positions: Mapping[str, int]) -> int:
    """The number of messages behind the committed positions."""
    behind = (
        end - positions.get(f"{topic}[{number}]", first) for (topic, number), (first, end) in places.spans.items()
    )
    return sum(max(0, messages) for messages in behind)


def _wait_for_letters(read_status: ReadStatus, deadline: float) -> None:
    """Wait for a heartbeat, written after our last commit, that says that everything is published."""
    started = time.monotonic()

    def unpublished() -> int:
        worker = read_status()["worker"]
        since_s = time.monotonic() - started
        published = worker and worker["heartbeat_age_s"] < since_s and not worker["figures"].get("outbox")
        return 0 if published else 1

    _wait_for_zero(unpublished, _POSITIONS_EVERY_S, min(deadline, started + _LETTERS_S))


def _wait_for_zero(count: Callable[[], int], every_s: float, deadline: float) -> int:
    """Call `count` until it returns 0, or until `deadline` (monotonic seconds); returns its last result."""
    retrying = Retrying(
        retry=retry_if_result(bool),
        wait=wait_fixed(every_s),
        stop=stop_after_delay(max(0.0, deadline - time.monotonic())),
        retry_error_callback=_last_result,
    )
    return int(retrying(count))


def _last_result(state: RetryCallState) -> int:
    return int(state.outcome.result()) if state.outcome else 0


def _place(letter: pb.DeadLetter) -> str:
    return f"{letter.topic}[{letter.partition}]@{letter.offset}"
