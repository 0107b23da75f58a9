"""Dead letters as an operator sees them: listing them, and publishing their originals again.

Dead-letter topic → **listed, or replayed to the original topic** → the worker, which drops what it has decided in the
meantime. All letters of one original count as one, however often it was replayed and came back, so replaying twice does
not send twice as many messages.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import KafkaError

from neardup_platform.dead_letters.kafka_letters import Letters
from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.replays import replay_headers
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS

MAX_REPLAYS = 3

# The largest uncompressed size of an original; in the log it was below the limit of its topic.
_LARGEST_ORIGINAL_BYTES = 1 << 30
_FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Selects letters.

    Attributes:
        reason: a code of `REASONS`; None for all.
        event_ids: of letters; empty for all.
        since_ms: only letters published from this time on, Unix milliseconds.
    """

    reason: str | None = None
    event_ids: Collection[str] = ()
    since_ms: int = 0

    def matches(self, letter: pb.DeadLetter) -> bool:
        """Whether a letter, published since then, is selected."""
        return self.reason in (None, letter.reason) and (not self.event_ids or letter.event_id in self.event_ids)


@dataclass(frozen=True, slots=True)
class Listing:
    """Letters without the bytes of their originals.

    Attributes:
        counts: all letters since then, by reason, most frequent first.
        letters: the selected ones, newest first, up to the limit; each with the length of its `value`, which is empty.
    """

    counts: dict[str, int]
    letters: list[tuple[pb.DeadLetter, int]]


@dataclass(slots=True)
class ReplayReport:
    """What a replay did, or would do.

    Attributes:
        letters: number of selected letters.
        sent: originals published again, by topic.
        reasons: the same by the reason of their newest letter.
        too_often: originals already replayed `MAX_REPLAYS` times.
        unreadable: letters of which only the place is known.
        elsewhere: letters of a topic that the worker does not read.
    """

    letters: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    too_often: int = 0
    unreadable: int = 0
    elsewhere: int = 0

    def flat(self, dry_run: bool) -> dict[str, Any]:
        """The counts by name, as the command line prints them."""
        return {
            "dry_run": dry_run,
            "letters": self.letters,
            "sent": sum(self.sent.values()),
            "topics": dict(self.sent),
            "reasons": dict(self.reasons),
            "refused": {"too_often": self.too_often, "unreadable": self.unreadable, "elsewhere": self.elsewhere},
        }


def list_letters(settings: KafkaSettings, wanted: LetterFilter, limit: int) -> Listing:
    """Count the letters by reason and list the newest.

    Raises:
        ServerUnavailable: Kafka does not answer.
        NotFound: the topic does not exist.
    """
    counts: Counter[str] = Counter()
    newest: deque[tuple[pb.DeadLetter, int]] = deque(maxlen=limit)
    for letter in Letters(settings, wanted.since_ms).read():
        counts[letter.reason] += 1
        if wanted.matches(letter):
            value_bytes = len(letter.value)
            letter.value = b""
            newest.append((letter, value_bytes))
    return Listing(dict(counts.most_common()), list(reversed(newest)))


@dataclass(slots=True)
class _Original:
    """An original, represented by its newest letter."""

    event_id: str
    reason: str
    replays: int
    wanted: bool


def replay(
    settings: KafkaSettings,
    wanted: LetterFilter,
    *,
    force: bool = False,
    dry_run: bool = False,
    sent: Callable[[int], None] = lambda _: None,
) -> ReplayReport:
    """Publish originals again: same topic, partition and key, with a header that counts the replays.

    Args:
        force: also those replayed too often.
        dry_run: report what would be sent, and send nothing.
        sent: called with 1 for each message sent.

    Raises:
        NotFound: no letter has one of the event ids, or the topic does not exist.
        ServerUnavailable: Kafka does not answer, or did not accept everything; repeating is safe.
    """
    letters = Letters(settings, wanted.since_ms)
    report = ReplayReport()
    originals = _originals(letters, wanted, report)
    chosen = {original.event_id: original for original in originals.values() if _may_be_sent(original, force, report)}
    report.reasons.update(original.reason for original in chosen.values())
    if dry_run:
        for letter in letters.read():
            if chosen.pop(letter.event_id, None):
                report.sent[letter.topic] += 1
    else:
        _send(settings, letters, chosen, report, sent)
    return report


def _originals(letters: Letters, wanted: LetterFilter, report: ReplayReport) -> dict[bytes, _Original]:
    missing = set(wanted.event_ids)
    found: dict[bytes, _Original] = {}
    for letter in letters.read():
        matches = wanted.matches(letter)
        missing.discard(letter.event_id)
        report.letters += matches
        if letter.topic not in (*EMBEDDINGS.values(), CONTROL) and letter.reason != "unpublishable":
            report.elsewhere += matches
            continue
        if letter.reason == "unreadable":
            report.unreadable += matches
            continue
        earlier = found.get(identity := _identity(letter))
        replays = max(letter.replays, earlier.replays if earlier else 0)
        matches |= earlier.wanted if earlier else False
        found[identity] = _Original(letter.event_id, letter.reason, replays, matches)
    if missing:
        raise NotFound(f"no dead letter has the event id {min(missing)!r}: see `neardup dead-letter list`")
    return found


def _may_be_sent(original: _Original, force: bool, report: ReplayReport) -> bool:
    if not original.wanted:
        return False
    if original.replays >= MAX_REPLAYS and not force:
        report.too_often += 1
        return False
    return True


def _identity(letter: pb.DeadLetter) -> bytes:
    digest = hashlib.blake2b(letter.topic.encode(), digest_size=16)
    digest.update(len(letter.key).to_bytes(8, "big") + letter.key + letter.value)
    return digest.digest()


def _send(
    settings: KafkaSettings,
    letters: Letters,
    chosen: dict[str, _Original],
    report: ReplayReport,
    sent: Callable[[int], None],
) -> None:
    producer = make_producer(settings.model_copy(update={"max_message_bytes": _LARGEST_ORIGINAL_BYTES}))
    futures = []
    try:
        for letter in letters.read():
            original = chosen.pop(letter.event_id, None)
            if original is None:
                continue
            there = letter.partition in (producer.partitions_for(letter.topic) or ())
            future = producer.send(
                letter.topic,
                key=letter.key or None,
                value=letter.value,
                headers=replay_headers(original.replays + 1),
                partition=letter.partition if there else None,
            )
            futures.append(future)
            report.sent[letter.topic] += 1
            sent(1)
        producer.flush(timeout=_FLUSH_S)
        for future in futures:
            future.get(timeout=_FLUSH_S)
    except KafkaError as error:
        raise ServerUnavailable(
            f"Kafka did not accept everything: {error}; repeat it, duplicates are dropped"
        ) from error
    finally:
        producer.close(timeout=_FLUSH_S)
