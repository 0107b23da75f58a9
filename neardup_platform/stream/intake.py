"""From messages to joined images: validate, drop repeats, pair, expire. The first half of a worker's step."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from neardup_platform.errors import BadMessage, InvariantBroken
from neardup_platform.join.pairing import Half, Pairing
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.messages.codec import Message, decode_embedding
from neardup_platform.messages.kafka_topics import KIND_OF_TOPIC
from neardup_platform.records import JoinedImage, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.stream.commit import Step

Partition = tuple[str, int]

_END_OF_TIME_MS = 1 << 62


class Intake:
    """Takes messages in order and keeps the waiting room.

    Args:
        models: what embeddings of each kind must be.
        partitions: every input partition.
        waiting: halves restored from the store.
        known: whether the store knows an image.
    """

    def __init__(
        self,
        settings: JoinSettings,
        models: Mapping[Kind, ModelSpec],
        partitions: Iterable[Partition],
        waiting: Iterable[pb.WaitingHalf],
        known: Callable[[str], bool],
    ) -> None:
        self._models = models
        self._known = known
        self._under_way: set[str] = set()
        self._lateness_s = settings.lateness_s
        restored = (self._restore(half) for half in waiting)
        self._pairing: Pairing[Message] = Pairing(
            partitions, round(settings.lateness_s * 1_000), settings.max_waiting, restored
        )

    def __len__(self) -> int:
        return len(self._pairing)

    def take(
        self, messages: Sequence[Message], idle: Iterable[Partition], now_ms: int
    ) -> tuple[Step, list[JoinedImage]]:
        """Take what was read.

        Args:
            messages: in offset order within each partition.
            idle: partitions that have nothing more to read; their clock is the wall clock.
            now_ms: the wall clock, Unix milliseconds.

        Returns:
            What the commit has to write of it, and the images that are complete now, by event time; call
            `committed` once the store knows them.
        """
        step = Step()
        joined: list[JoinedImage] = []
        for message in messages:
            step.positions[message.topic, message.partition] = message.offset + 1
            step.count("received")
            try:
                self._take_one(message, step, joined, now_ms)
            except BadMessage as error:
                step.dead.append((message, error))
                step.count("dead_lettered")
        for partition in idle:
            self._pairing.advance(partition, now_ms)
        self._give_up(step)
        return step, sorted(joined, key=lambda image: (image.event_time_ms, image.image_id))

    def committed(self, image_ids: Iterable[str]) -> None:
        """Note that images which `take` returned are known to the store now."""
        self._under_way.difference_update(image_ids)

    def _take_one(self, message: Message, step: Step, joined: list[JoinedImage], now_ms: int) -> None:
        kind = KIND_OF_TOPIC[message.topic]
        embedding = decode_embedding(message, kind, self._models[kind], now_ms)
        # A clock that runs ahead must not make others late.
        self._pairing.advance((message.topic, message.partition), min(embedding.event_time_ms, now_ms))
        if embedding.image_id in self._under_way or self._known(embedding.image_id):
            step.count("repeated")
            return
        offer = self._pairing.offer(embedding, message)
        if offer.image and offer.partner:
            joined.append(offer.image)
            self._under_way.add(embedding.image_id)
            step.left.append(offer.partner)
        if offer.entered:
            step.entered.append(offer.entered)
        if offer.replaced:
            step.count("repeated")

    def _give_up(self, step: Step) -> None:
        lateness = f"no partner within {self._lateness_s:g} s of event time"
        for reason, detail, halves in (
            ("expired", lateness, self._pairing.expire()),
            ("evicted", "the waiting room was full (join.max_waiting)", self._pairing.evict()),
        ):
            for half in halves:
                step.left.append(half)
                step.dead.append((half.origin, BadMessage(reason, detail)))
                step.count(reason)

    def _restore(self, raw: pb.WaitingHalf) -> Half[Message]:
        key = pb.EmbeddingReady.FromString(raw.value).image_id.encode()
        message = Message(raw.topic, raw.partition, raw.offset, key, raw.value)
        kind = KIND_OF_TOPIC[raw.topic]
        try:
            # It was admitted once by a clock that may since have been set back.
            embedding = decode_embedding(message, kind, self._models[kind], now_ms=_END_OF_TIME_MS)
        except BadMessage as error:
            raise InvariantBroken(f"waiting half of {message.place} in the store is damaged: {error}") from error
        return Half(embedding, message, raw.waits_from_ms)
