"""From messages to joined images: validate, drop repeats, pair, expire. The first half of a worker's step."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import cast

import numpy as np
from google.protobuf.message import DecodeError

from neardup_platform.errors import BadMessage, InvariantBroken
from neardup_platform.join.pairing import Half, Pairing
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.stream.commit import Step
from neardup_platform.stream.expiry_report import expiry_report
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message, decode_embedding
from neardup_platform.wire.topics import KIND_OF_TOPIC
from neardup_platform.wire.validation import same_vector

Partition = tuple[str, int]

_END_OF_TIME_MS = 1 << 62
# Given up in one step: each is a dead letter with its bytes. The rest follows in the next steps, before more is read.
MOST_GIVEN_UP = 1_000
MOST_GIVEN_UP_BYTES = 8 << 20


def _nothing(_image_id: str) -> None:
    return None


def _never(_image_id: str) -> int:
    return 0


class _DecidesAgain(Exception):
    """An embedding for which its image is to be decided again, in a step of its own."""


class Intake:
    """Takes messages in order and keeps the waiting room.

    Args:
        models: what embeddings of each kind must be.
        partitions: every input partition.
        waiting: halves restored from the store.
        known: whether the store knows an image.
        clocks_ms: clocks of the partitions, restored from the store.
        stored: the embeddings that the store has of an image it knows.
        forgotten_ms: event time up to which embeddings of an image are dropped, because it was forgotten; 0: none.
    """

    def __init__(
        self,
        settings: JoinSettings,
        models: Mapping[Kind, ModelSpec],
        partitions: Iterable[Partition],
        waiting: Iterable[store_pb.UnpairedRecord],
        known: Callable[[str], bool],
        clocks_ms: Mapping[Partition, int] | None = None,
        stored: Callable[[str], JoinedImage | None] = _nothing,
        forgotten_ms: Callable[[str], int] = _never,
    ) -> None:
        self._models = models
        self._newer = {Kind.LSH: settings.newer_lsh, Kind.PAIR: settings.newer_pair}
        self._known = known
        self._stored = stored
        self._forgotten_ms = forgotten_ms
        self._held: list[Message] = []
        self._under_way: dict[str, JoinedImage] = {}
        self._lateness_ms = round(settings.lateness_s * 1_000)
        self._idle_ms = round(settings.idle_s * 1_000)
        # Waiting halves that the rules of today refuse: admitted by an earlier release, or under other settings.
        self._unfit: list[tuple[Half[Message], BadMessage]] = []
        restored = (half for raw in waiting if (half := self._restore(raw)) is not None)
        self._pairing: Pairing[Message] = Pairing(
            partitions,
            self._lateness_ms,
            settings.max_waiting,
            settings.max_waiting_mb << 20,
            restored,
            dict(clocks_ms or {}),
        )
        self._partitions = self._with_clocks()
        self._restarted: dict[Partition, Log] = {}
        # Partitions whose clocks moved since a step last took them to the store, and the watermark it took.
        self._moved: set[Partition] = set()
        self._saved_ms = self._pairing.watermark_ms

    def __len__(self) -> int:
        return len(self._pairing)

    def log_is(self, partitions: Set[Partition], restarted: Mapping[Partition, Log]) -> None:
        """What the log is now.

        Args:
            partitions: every input partition. One that is new holds the watermark where it is until something is known
                of it; of one that is gone nothing stays.
            restarted: partitions that are read from their beginning again, as they are of another log than before.
        """
        if partitions is not self._partitions:
            self._partitions = partitions
            for partition in partitions - self._with_clocks():
                self._pairing.add_partition(partition)
        self._restarted.update(restarted)

    def take(
        self, messages: Sequence[Message], read_until: Mapping[Partition, int], now_ms: int, wall_ms: int = 0
    ) -> tuple[Step, list[JoinedImage]]:
        """Take what was read.

        Args:
            messages: in offset order within each partition.
            read_until: partitions of which all that was there at a moment has been read, with that moment in Unix
                milliseconds; their clocks are at most `join.idle_s` behind it, whatever their event times say.
            now_ms: the clock of the join, Unix milliseconds; no partition's clock goes beyond it.
            wall_ms: the wall clock, by which an event time may be too far ahead; where it is earlier, `now_ms` is.

        Returns:
            What the commit has to write of it, and the images that are complete now, by event time; call
            `committed` once the store knows them.
        """
        step = Step()
        joined: list[JoinedImage] = []
        self._restart(step)
        pending, self._held = [*self._held, *messages], []
        if self.gives_up:
            # What was due when the step before ended goes first, so a bound on steps changes no result.
            self._held = pending
        else:
            self._take_all(pending, step, joined, now_ms, max(now_ms, wall_ms))
            for partition, until_ms in () if self._held else read_until.items():
                self._advance(partition, min(until_ms, now_ms) - self._idle_ms)
            self._drop_gone(step)
        self._give_up(step, now_ms)
        self._save_clocks(step)
        return step, sorted(joined, key=lambda image: (image.event_time_ms, image.image_id))

    def _take_all(
        self, pending: Sequence[Message], step: Step, joined: list[JoinedImage], now_ms: int, latest_ms: int
    ) -> None:
        for number, message in enumerate(pending):
            try:
                self._take_one(message, step, joined, now_ms, latest_ms)
            except BadMessage as error:
                step.dead.append((message, error))
                step.count("dead_lettered")
            except _DecidesAgain:
                self._held = [*pending[number:]]
                break
            step.passed(message)
            step.count("received")

    @property
    def gives_up(self) -> bool:
        """Whether more halves are to be given up than one step does; until they are, `take` does nothing else."""
        return bool(self._unfit) or self._pairing.overdue

    @property
    def holds_newer(self) -> bool:
        """Whether an embedding is held back that may have a known image decided again, and everything after it."""
        return bool(self._held)

    def take_newer(self, now_ms: int) -> tuple[Step, Embedding | JoinedImage] | None:
        """Take the embedding that is held back, while no step is in flight.

        Returns:
            What the commit has to write beside the new decision, and the newer embedding, or both where they replace
            the stored ones; None where the image needs no new decision: then `take` goes on with it, as with any
            message. Its image may have been forgotten since it was held back, or decided again, and the clock set:
            nothing that was found then is relied upon.
        """
        if not self._held:
            return None
        message = self._held[0]
        try:
            embedding = self._decode(message, now_ms)
        except BadMessage:
            return None
        if not self._decides_again(embedding):
            return None
        del self._held[0]
        step = Step()
        step.passed(message)
        step.count("received")
        step.count("re_embedded")
        newer: Embedding | JoinedImage = embedding
        if embedding.replaces:
            joined: list[JoinedImage] = []
            self._offer(embedding, message, step, joined)
            (newer,) = joined
            step.count("re_embedded")
        self._save_clocks(step)
        return step, newer

    def forget(self, image_id: str) -> None:
        """Drop the waiting halves of an image; the store no longer has them."""
        self._pairing.remove(image_id)

    def committed(self, image_ids: Iterable[str]) -> None:
        """Note that images which `take` returned are known to the store now."""
        for image_id in image_ids:
            self._under_way.pop(image_id, None)

    def figures(self, now_ms: int) -> dict[str, float]:
        """Gauges of the waiting room, and the watermark once there is one: Unix milliseconds, and behind the clock.

        Args:
            now_ms: the clock of the join, Unix milliseconds.
        """
        room = {"waiting": len(self._pairing), "waiting_mb": round(self._pairing.bytes / 2**20, 1)}
        watermark_ms = self._pairing.watermark_ms
        if not watermark_ms:
            return room
        return {**room, "watermark_ms": watermark_ms, "watermark_delay_ms": max(0, now_ms - watermark_ms)}

    def _restart(self, step: Step) -> None:
        for partition, log in self._restarted.items():
            step.positions[partition], step.logs[partition] = 0, log
            step.count("partitions_restarted")
        self._restarted.clear()

    def _drop_gone(self, step: Step) -> None:
        """Also of those whose last messages came after they were gone."""
        for partition in self._with_clocks() - self._partitions:
            self._pairing.drop_partition(partition)
            self._moved.discard(partition)
            step.gone.add(partition)

    def _with_clocks(self) -> Set[Partition]:
        return cast("Set[Partition]", self._pairing.partitions)

    def _advance(self, partition: Partition, time_ms: int) -> None:
        if self._pairing.advance(partition, time_ms):
            self._moved.add(partition)

    def _save_clocks(self, step: Step) -> None:
        """Give the step the clocks that moved. A quiet stream need not write for them more than now and then."""
        overdue = self._pairing.watermark_ms - self._saved_ms > self._lateness_ms // 10
        if step.empty and not overdue:
            return
        step.clocks = {p: self._pairing.clock_ms(p) for p in (self._moved | set(step.positions)) - step.gone}
        self._moved.clear()
        self._saved_ms = self._pairing.watermark_ms

    def _take_one(self, message: Message, step: Step, joined: list[JoinedImage], now_ms: int, latest_ms: int) -> None:
        if message.damage:
            raise BadMessage("unreadable", message.damage)
        embedding = self._decode(message, latest_ms)
        # A clock that runs ahead must not make others late.
        self._advance((message.topic, message.partition), min(embedding.event_time_ms, now_ms))
        if self._is_known(embedding.image_id):
            if self._decides_again(embedding):
                raise _DecidesAgain
            if not self._replaces_stored(embedding):
                _check_same(embedding, self._present(embedding.image_id))
                step.count("repeated")
                return
        elif embedding.event_time_ms <= self._forgotten_ms(embedding.image_id):
            step.count("forgotten")
            return
        before = len(joined)
        self._offer(embedding, message, step, joined)
        self._under_way |= {image.image_id: image for image in joined[before:]}

    def _offer(self, embedding: Embedding, message: Message, step: Step, joined: list[JoinedImage]) -> None:
        """Give an embedding to the waiting room."""
        waiting = self._pairing.waiting(embedding.kind, embedding.image_id)
        if waiting is not None and not (embedding.replaces or waiting.embedding.replaces):
            _check_same(embedding, waiting.embedding)
        offer = self._pairing.offer(embedding, message, (message.topic, message.partition), message.size)
        if offer.image and offer.partner:
            joined.append(offer.image)
            step.left += [offer.partner, *([offer.replaced] if offer.replaced else [])]
        if offer.entered:
            step.entered.append(offer.entered)
        if offer.replaced:
            step.count("repeated")

    def _decode(self, message: Message, now_ms: int) -> Embedding:
        kind = KIND_OF_TOPIC[message.topic]
        return decode_embedding(message, kind, self._models[kind], now_ms, self._newer[kind])

    def _is_known(self, image_id: str) -> bool:
        return image_id in self._under_way or self._known(image_id)

    def _present(self, image_id: str) -> JoinedImage | None:
        """The embeddings of a known image, from a step in flight or from the store."""
        return self._under_way.get(image_id) or self._stored(image_id)

    def _decides_again(self, embedding: Embedding) -> bool:
        """Whether the image is known and is to be decided again as soon as no step is in flight."""
        if not self._is_known(embedding.image_id):
            return False
        if embedding.replaces:
            return self._replaces_stored(embedding) and self._pairing.partner(embedding) is not None
        return self._is_newer(embedding)

    def _replaces_stored(self, embedding: Embedding) -> bool:
        """Whether an embedding of a known image takes the place of the stored one, which was made before.

        One that was not made later is delivered again, or was overtaken by another replacement.
        """
        if not embedding.replaces:
            return False
        present = self._present(embedding.image_id)
        return present is None or embedding.event_time_ms > present.event_time_ms

    def _is_newer(self, embedding: Embedding) -> bool:
        """Whether an embedding of a known image is by a later model than the stored one; of one in flight: may be."""
        if embedding.model_version not in self._newer[embedding.kind]:
            return False
        if embedding.image_id in self._under_way:
            return True
        order = (self._models[embedding.kind].version, *self._newer[embedding.kind])
        present = self._stored(embedding.image_id)
        stored = present.embedding(embedding.kind).model_version if present is not None else ""
        return stored not in order or order.index(embedding.model_version) > order.index(stored)

    def _give_up(self, step: Step, now_ms: int) -> None:
        """Give up halves, as many as one step may; expiring goes before evicting, as if there were no bound."""
        unfit, self._unfit = self._unfit[:MOST_GIVEN_UP], self._unfit[MOST_GIVEN_UP:]
        for half, error in unfit:
            step.left.append(half)
            step.dead.append((half.origin, error))
            step.count("dead_lettered")
        lateness = f"no partner within {self._lateness_ms / 1_000:g} s of event time"
        expired = self._pairing.expire(MOST_GIVEN_UP - len(unfit), MOST_GIVEN_UP_BYTES)
        evicted = self._pairing.evict(MOST_GIVEN_UP - len(unfit) - len(expired), MOST_GIVEN_UP_BYTES)
        given_up = []
        for reason, detail, halves in (
            ("expired", lateness, expired),
            ("evicted", "the waiting room was full (join.max_waiting, join.max_waiting_mb)", evicted),
        ):
            for half in halves:
                given_up.append((half, reason))
                step.left.append(half)
                step.dead.append((half.origin, BadMessage(reason, detail)))
                step.count(reason)
        if given_up:
            step.report = expiry_report(given_up, self._pairing.watermark_ms, self._lateness_ms, now_ms)

    def _restore(self, raw: store_pb.UnpairedRecord) -> Half[Message] | None:
        """A half from the store; None for one that is refused, which the next step sets aside."""
        try:
            sent = pb.EmbeddingReady.FromString(raw.value)
        except DecodeError as error:
            raise InvariantBroken(f"a waiting half in the store is damaged: {error}: `neardup doctor`") from error
        key, log = sent.image_id.encode(), Log(raw.log)
        message = Message(raw.topic, raw.partition, raw.offset, key, raw.value, raw.replays, log=log)
        try:
            # It was admitted once by a clock that may since have been set back.
            embedding = self._decode(message, now_ms=_END_OF_TIME_MS)
        except BadMessage as error:
            kind = KIND_OF_TOPIC[raw.topic]
            refused = Embedding(sent.image_id, kind, sent.model_version, np.zeros(0, np.float32), sent.event_time_ms)
            self._unfit.append((Half(refused, message, raw.waits_from_ms, message.size), error))
            return None
        return Half(embedding, message, raw.waits_from_ms, message.size)


def _check_same(embedding: Embedding, present: JoinedImage | Embedding | None) -> None:
    """Refuse an embedding that differs from the one of its kind and model version that is there already.

    Raises:
        BadMessage: `conflicting`.
    """
    there = present.embedding(embedding.kind) if isinstance(present, JoinedImage) else present
    if there is None or there.model_version != embedding.model_version:
        return
    if not same_vector(embedding.vector, there.vector):
        older = ", which was made later than this one" if embedding.replaces else ""
        raise BadMessage(
            "conflicting",
            f"image {embedding.image_id[:80]!r} has another {embedding.kind} vector of version "
            f"{embedding.model_version[:80]!r}{older}; to replace it: `neardup ingest --replace`, or `replace` in both "
            "of its messages with a later event time",
        )
