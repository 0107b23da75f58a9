"""Whether anything was lost, doubled or torn: pure functions over a reader of the store and the content of the log.

Each yields what is wrong, a line for each finding and nothing where all is well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from neardup_platform.store import layout
from neardup_platform.store.view import StoreView
from neardup_platform.wire import neardup_pb2 as pb
from tests.faults.traffic import Sent

ENDS = ("repeated", "expired", "evicted", "dead_lettered", "forgotten")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Log:
    """The content of the topics: the number of embeddings, and every published value, repeats included."""

    embeddings: int
    decisions: list[bytes]
    dead_letters: list[bytes]


def wrong_at_any_moment(store: StoreView, log: Log) -> Iterator[str]:
    """What must hold between any two commits. Read the log before the store."""
    yield from _balance(store)
    yield from _clusters(store)
    yield from _doubled(log)
    yield from _published(store, log, complete=False)


def wrong_when_settled(store: StoreView, log: Log, sent: Sent) -> Iterator[str]:
    """What must hold once everything sent is accounted for, published and acknowledged."""
    yield from _balance(store)
    yield from _clusters(store)
    yield from _doubled(log)
    yield from _published(store, log, complete=True)
    yield from _account(store, log, sent)


def _balance(store: StoreView) -> Iterator[str]:
    """Every message that was read has one fate."""
    state, waiting = store.state(), sum(1 for _ in store.unpaired.all())
    fates = dict(state.counters)
    ended = sum(fates.get(fate, 0) for fate in ENDS)
    if fates.get("received", 0) + 2 * fates.get("ingested", 0) != 2 * state.images + waiting + ended:
        yield f"{state.images} images and {waiting} waiting halves do not add up with {fates}"


def _clusters(store: StoreView) -> Iterator[str]:
    """Image → head, head → members, sizes, totals and digest say the same."""
    heads = {image_id: record.head for image_id, record in store.images.all()}
    listed: Counter[str] = Counter()
    state, digest, clusters = store.state(), 0, 0
    for head, cluster in store.clusters.all():
        clusters += 1
        members = store.members.page(head, cluster.size + 1).image_ids
        listed.update(members)
        if len(members) != cluster.size or heads.get(head) != head:
            yield f"cluster {head} says {cluster.size} members, {len(members)} listed, its head is in {heads.get(head)}"
        yield from (f"{i} is listed under {head}, its head is {heads.get(i)}" for i in members if heads.get(i) != head)
    yield from _few("images listed not once", {i for i in heads if listed[i] != 1})
    digest = sum(layout.assignment_digest(image_id, head) for image_id, head in heads.items())
    if layout.digest_after(bytes(16), digest) != state.digest:
        yield "the digest is not that of image → head"
    if (state.images, state.clusters) != (len(heads), clusters):
        yield f"totals say {state.images} images in {state.clusters}, there are {len(heads)} in {clusters}"
    ordinals = [record.image_id for record in store.vectors.all()]
    if sorted(ordinals) != sorted(heads):
        yield f"{len(ordinals)} images have vectors, {len(heads)} have heads, or they are not the same"


def _doubled(log: Log) -> Iterator[str]:
    """What is published again under one event id is the same to the last byte."""
    said: dict[str, set[bytes]] = defaultdict(set)
    for value in log.decisions:
        said[pb.Decision.FromString(value).event_id].add(value)
    for value in log.dead_letters:
        said[pb.DeadLetter.FromString(value).event_id].add(value)
    yield from _few("event ids with different contents", {i for i, values in said.items() if len(values) > 1})


def _published(store: StoreView, log: Log, *, complete: bool) -> Iterator[str]:
    """Decisions in the log are those of the store; each image has one."""
    published = {pb.Decision.FromString(value).event_id: value for value in log.decisions}
    held = {}
    for image_id, _ in store.images.all():
        history = store.history.all(image_id)
        if len(history) != 1:
            yield f"{image_id} was decided {len(history)} times"
        held.update({pb.Decision.FromString(value).event_id: value for value in history})
    yield from _few("published decisions are not in the store", published.keys() - held.keys())
    yield from _few(
        "decisions differ between log and store", {i for i in published if held.get(i, published[i]) != published[i]}
    )
    if complete:
        yield from _few("decisions were not published", held.keys() - published.keys())


def _account(store: StoreView, log: Log, sent: Sent) -> Iterator[str]:
    state, waiting = store.state(), sum(1 for _ in store.unpaired.all())
    fates = Counter(dict(state.counters))
    decided = {image_id for image_id, _ in store.images.all()}
    yield from _few("images were sent whole and not decided", sent.whole - decided)
    yield from _few("images were decided and not sent whole", decided - sent.whole)
    letters = len({pb.DeadLetter.FromString(value).event_id for value in log.dead_letters})
    found = {
        "in the log": (log.embeddings, sent.messages),
        "received": (fates["received"], sent.messages),
        "repeated": (fates["repeated"], sent.repeats),
        "dead-lettered": (fates["dead_lettered"], sent.bad),
        "waiting, expired or evicted": (waiting + fates["expired"] + fates["evicted"], sent.alone),
        "dead letters published": (letters, sent.bad + fates["expired"] + fates["evicted"]),
        "last sequence": (state.sequence, len(sent.whole)),
        "left in the outbox": (sum(1 for _ in store.outbox.pending()), 0),
    }
    yield from (f"{what}: {is_} instead of {ought}" for what, (is_, ought) in found.items() if is_ != ought)


def _few(what: str, ids: Iterable[str]) -> Iterator[str]:
    found = sorted(ids)
    if found:
        yield f"{what}: {len(found)}, such as {list(islice(found, _SHOWN))}"
