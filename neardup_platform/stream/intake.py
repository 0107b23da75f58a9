"""From messages to joined images: validate, drop repeats, pair, expire. The first part of a stream step."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import cast

from neardup_platform.errors import BadMessage
from neardup_platform.join.pairing import Pairing
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.stream.known_images import KnownImages, check_same
from neardup_platform.stream.steps import Consumed, Partition
from neardup_platform.stream.waiting_room import WaitingRoom, restore_waiting
from neardup_platform.wire.codec import Log, Message, decode_embedding
from neardup_platform.wire.topics import KIND_OF_TOPIC

_END_OF_TIME_MS = 1 << 62


def _nothing(_image_id: str) -> None:
    return None


def _never(_image_id: str) -> int:
    return 0


class _DecidesAgain(Exception):
    """An embedding for which its image has to be decided again, in a step of its own."""


class Intake:
    """Takes messages in order and keeps the waiting room.

    Args:
        models: the required model of each kind.
        partitions: every input partition.
        waiting: unpaired embeddings restored from the store.
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
        self._known = KnownImages(models, self._newer, known, stored)
        self._forgotten_ms = forgotten_ms
        self._held: list[Message] = []
        self._lateness_ms = round(settings.lateness_s * 1_000)
        self._idle_ms = round(settings.idle_s * 1_000)
        restored, refused = restore_waiting(waiting, self._decode_restored)
        self._pairing: Pairing[Message] = Pairing(
            partitions,
            self._lateness_ms,
            settings.max_waiting,
            settings.max_waiting_mb << 20,
            restored,
            dict(clocks_ms or {}),
        )
        self._waiting_room = WaitingRoom(self._pairing, refused, self._lateness_ms)
        self._partitions = self._with_clocks()
        self._restarted: dict[Partition, Log] = {}
        # Partitions whose clocks moved since a step last took them to the store, and the watermark it took.
        self._moved: set[Partition] = set()
        self._saved_ms = self._pairing.watermark_ms

    def __len__(self) -> int:
        return len(self._pairing)

    def update_log(self, partitions: Set[Partition], restarted: Mapping[Partition, Log]) -> None:
        """Follow changes of the log.

        Args:
            partitions: every input partition. A new one holds the watermark until it is read; of one that is gone
                nothing stays.
            restarted: partitions that are read from their beginning again, because they belong to another log now.
        """
        if partitions is not self._partitions:
            self._partitions = partitions
            for partition in partitions - self._with_clocks():
                self._pairing.add_partition(partition)
        self._restarted.update(restarted)

    def take(
        self, messages: Sequence[Message], read_until: Mapping[Partition, int], now_ms: int, wall_ms: int = 0
    ) -> tuple[Consumed, list[JoinedImage]]:
        """Take messages.

        Args:
            messages: in offset order within each partition.
            read_until: by partition, the moment, in Unix milliseconds, up to which everything in it has been read. Its
                clock is at most `join.idle_s` behind that, whatever its event times are.
            now_ms: the clock of the join, Unix milliseconds; no partition's clock goes beyond it.
            wall_ms: the wall clock, which bounds how far ahead an event time may be; `now_ms` where that is later.

        Returns:
            What the commit writes of it, and the images that are complete now, by event time; call `committed` once
            the store knows them.
        """
        consumed = Consumed()
        joined: list[JoinedImage] = []
        self._restart(consumed)
        pending, self._held = [*self._held, *messages], []
        if self.gives_up:
            # What was due when the previous step ended goes first, so that the bound on steps changes no result.
            self._held = pending
        else:
            self._take_all(pending, consumed, joined, now_ms, max(now_ms, wall_ms))
            for partition, until_ms in () if self._held else read_until.items():
                self._advance(partition, min(until_ms, now_ms) - self._idle_ms)
            self._drop_gone(consumed)
        self._waiting_room.give_up(consumed, now_ms)
        self._save_clocks(consumed)
        return consumed, sorted(joined, key=lambda image: (image.event_time_ms, image.image_id))

    @property
    def gives_up(self) -> bool:
        """Whether more embeddings are due to be given up than one step may; until they are, `take` does only that."""
        return self._waiting_room.overdue

    @property
    def holds_newer(self) -> bool:
        """Whether an embedding that may have a known image decided again is held back, and everything after it."""
        return bool(self._held)

    def take_newer(self, now_ms: int) -> tuple[Consumed, Embedding | JoinedImage] | None:
        """Take the embedding that is held back, while no step is in flight.

        Returns:
            What the commit writes beside the new decision, and the newer embedding, or both where they replace the
            stored ones. None where the image needs no new decision: then `take` continues with the embedding, as with
            any message. Nothing found out when it was held back is used, because its image may have been forgotten or
            decided again since, and the clock set.
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
        consumed = Consumed()
        consumed.add(message)
        consumed.count("received")
        consumed.count("re_embedded")
        newer: Embedding | JoinedImage = embedding
        if embedding.replaces:
            joined: list[JoinedImage] = []
            self._offer(embedding, message, consumed, joined)
            (newer,) = joined
            consumed.count("re_embedded")
        self._save_clocks(consumed)
        return consumed, newer

    def forget(self, image_id: str) -> None:
        """Drop the unpaired embeddings of an image that is forgotten."""
        self._pairing.remove(image_id)

    def in_flight(self, image_id: str) -> JoinedImage | None:
        """The embeddings of an image that is being decided; None for one that is not."""
        return self._known.in_flight(image_id)

    def started(self, images: Iterable[JoinedImage]) -> None:
        """Record that images which do not come from the log are being decided."""
        self._known.add(images)

    def committed(self, image_ids: Iterable[str]) -> None:
        """Record that the store knows images that were being decided."""
        self._known.committed(image_ids)

    def metrics(self, now_ms: int) -> dict[str, float]:
        """Gauges of the waiting room, and the watermark once there is one: Unix milliseconds, and its delay.

        Args:
            now_ms: the clock of the join, Unix milliseconds.
        """
        room = {"waiting": len(self._pairing), "waiting_mb": round(self._pairing.bytes / 2**20, 1)}
        watermark_ms = self._pairing.watermark_ms
        if not watermark_ms:
            return room
        return {**room, "watermark_ms": watermark_ms, "watermark_delay_ms": max(0, now_ms - watermark_ms)}

    def _take_all(
        self, pending: Sequence[Message], consumed: Consumed, joined: list[JoinedImage], now_ms: int, latest_ms: int
    ) -> None:
        for number, message in enumerate(pending):
            try:
                self._take_one(message, consumed, joined, now_ms, latest_ms)
            except BadMessage as error:
                consumed.dead.append((message, error))
                consumed.count("dead_lettered")
            except _DecidesAgain:
                self._held = [*pending[number:]]
                break
            consumed.add(message)
            consumed.count("received")

    def _take_one(
        self, message: Message, consumed: Consumed, joined: list[JoinedImage], now_ms: int, latest_ms: int
    ) -> None:
        if message.damage:
            raise BadMessage("unreadable", message.damage)
        embedding = self._decode(message, latest_ms)
        # A producer's clock that runs ahead must not make others late.
        self._advance((message.topic, message.partition), min(embedding.event_time_ms, now_ms))
        if embedding.image_id in self._known:
            if self._decides_again(embedding):
                raise _DecidesAgain
            if not self._known.is_replaced_by(embedding):
                check_same(embedding, self._known.embeddings(embedding.image_id))
                consumed.count("repeated")
                return
        elif embedding.event_time_ms <= self._forgotten_ms(embedding.image_id):
            consumed.count("forgotten")
            return
        before = len(joined)
        self._offer(embedding, message, consumed, joined)
        self._known.add(joined[before:])

    def _offer(self, embedding: Embedding, message: Message, consumed: Consumed, joined: list[JoinedImage]) -> None:
        """Pair an embedding, or let it wait."""
        waiting = self._pairing.waiting(embedding.kind, embedding.image_id)
        if waiting is not None and not (embedding.replaces or waiting.embedding.replaces):
            check_same(embedding, waiting.embedding)
        offer = self._pairing.offer(embedding, message, (message.topic, message.partition), message.size)
        if offer.image and offer.partner:
            joined.append(offer.image)
            consumed.left += [offer.partner, *([offer.replaced] if offer.replaced else [])]
        if offer.entered:
            consumed.entered.append(offer.entered)
        if offer.replaced:
            consumed.count("repeated")

    def _decode(self, message: Message, now_ms: int) -> Embedding:
        kind = KIND_OF_TOPIC[message.topic]
        return decode_embedding(message, kind, self._models[kind], now_ms, self._newer[kind])

    def _decode_restored(self, message: Message) -> Embedding:
        """Its event time was checked when it arrived, by a clock that may have been set back since."""
        return self._decode(message, now_ms=_END_OF_TIME_MS)

    def _decides_again(self, embedding: Embedding) -> bool:
        """Whether the image is known and has to be decided again once no step is in flight."""
        if embedding.image_id not in self._known:
            return False
        if embedding.replaces:
            return self._known.is_replaced_by(embedding) and self._pairing.partner(embedding) is not None
        return self._known.is_older_than(embedding)

    def _restart(self, consumed: Consumed) -> None:
        for partition, log in self._restarted.items():
            consumed.positions[partition], consumed.logs[partition] = 0, log
            consumed.count("partitions_restarted")
        self._restarted.clear()

    def _drop_gone(self, consumed: Consumed) -> None:
        """Drop partitions that no longer exist, also those whose last messages came after that."""
        for partition in self._with_clocks() - self._partitions:
            self._pairing.drop_partition(partition)
            self._moved.discard(partition)
            consumed.gone.add(partition)

    def _with_clocks(self) -> Set[Partition]:
        return cast("Set[Partition]", self._pairing.partitions)

    def _advance(self, partition: Partition, time_ms: int) -> None:
        if self._pairing.advance(partition, time_ms):
            self._moved.add(partition)

    def _save_clocks(self, consumed: Consumed) -> None:
        """Give the step the clocks that moved. A quiet stream writes for them only now and then."""
        overdue = self._pairing.watermark_ms - self._saved_ms > self._lateness_ms // 10
        if consumed.empty and not overdue:
            return
        consumed.clocks = {
            p: self._pairing.clock_ms(p) for p in (self._moved | set(consumed.positions)) - consumed.gone
        }
        self._moved.clear()
        self._saved_ms = self._pairing.watermark_ms
