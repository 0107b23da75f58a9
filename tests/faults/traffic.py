"""What a test sends, and the account of it.

Images come in families. A family's members are near its first image and far from all others by any measure, so the
cluster of each is known beforehand, in whatever order they are decided, once the first ones are.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from kafka import KafkaProducer

from neardup_platform.kafka.publisher import make_producer
from neardup_platform.records import Embedding, Kind, ModelSpec
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS

FAMILY = 6
_NOISE = 0.15


def image_id(number: int) -> str:
    """Family and member of an image."""
    return f"{number // FAMILY:05d}/{number % FAMILY}"


def head_of(whole: str) -> str:
    """The head of an image, once all first images were decided before the rest."""
    return f"{whole.split('/', maxsplit=1)[0]}/0"


def digest_of(ids: Iterable[str]) -> bytes:
    """The state digest of images that all are with their family."""
    total = sum(layout.assignment_digest(i, head_of(i)) for i in ids)
    return layout.digest_after(bytes(16), total)


def embedding(number: int, kind: Kind, time_ms: int) -> Embedding:
    """One embedding of an image."""
    model = _models()[kind]
    centre = np.random.default_rng([number // FAMILY, kind is Kind.LSH]).standard_normal(model.dim, np.float32)
    own = np.random.default_rng([number, 2 + (kind is Kind.LSH)]).standard_normal(model.dim, np.float32)
    vector = centre + (_NOISE * own if number % FAMILY else 0)
    return Embedding(image_id(number), kind, model.version, vector / np.linalg.norm(vector), time_ms)


@cache
def _models() -> dict[Kind, ModelSpec]:
    return read_card(SHIPPED_FOLDER).required_models


@dataclass(slots=True)
class Sent:
    """The account.

    Attributes:
        whole: ids of images of which both halves were sent.
        messages: sent to the embedding topics, all in all.
        repeats: halves sent a second time.
        bad: messages that no producer should send.
        alone: halves whose partner was not sent.
    """

    whole: set[str] = field(default_factory=set)
    messages: int = 0
    repeats: int = 0
    bad: int = 0
    alone: int = 0


class Traffic:
    """Sends and keeps the account."""

    def __init__(self, producer: KafkaProducer, sent: Sent) -> None:
        self._producer = producer
        self.sent = sent

    def images(self, numbers: Iterable[int], time_ms: int = 0) -> None:
        """Both embeddings of images; event time is now unless given."""
        for number in numbers:
            for kind in Kind:
                self._half(number, kind, time_ms)
            self.sent.whole.add(image_id(number))
        self._producer.flush()

    def disordered(self, numbers: Iterable[int], seed: int, repeat_ratio: float = 0.0, skew_ms: int = 0) -> None:
        """Halves in any order, some twice, event times off by up to `skew_ms` either way."""
        self.send(self.prepared(numbers, seed, repeat_ratio, skew_ms))

    def prepared(
        self, numbers: Iterable[int], seed: int, repeat_ratio: float = 0.0, skew_ms: int = 0
    ) -> list[tuple[Kind, bytes, bytes]]:
        """What `disordered` sends, entered in the account but for the number of messages."""
        rng = np.random.default_rng(seed)
        halves = [(number, kind) for number in numbers for kind in Kind]
        again = [half for half in halves if rng.random() < repeat_ratio]
        self.sent.repeats += len(again)
        self.sent.whole |= {image_id(number) for number, _ in halves}
        every, now_ms, messages = [*halves, *again], time.time_ns() // 1_000_000, []
        for at in rng.permutation(len(every)):
            number, kind = every[at]
            half = embedding(number, kind, now_ms + int(rng.integers(-skew_ms, skew_ms + 1)))
            messages.append((kind, half.image_id.encode(), encode_embedding(half)))
        return messages

    def send(self, messages: Iterable[tuple[Kind, bytes, bytes]]) -> None:
        """Send what was prepared."""
        for message in messages:
            self._send(*message)
        self._producer.flush()

    def alone(self, number: int, kind: Kind) -> None:
        """One embedding of an image, and never the other."""
        self._half(number, kind)
        self.sent.alone += 1
        self._producer.flush()

    def completed(self, number: int, kind: Kind) -> None:
        """The other embedding of an image that was sent unpaired."""
        self._half(number, kind)
        self.sent.alone -= 1
        self.sent.whole.add(image_id(number))
        self._producer.flush()

    def garbage(self, count: int, seed: int) -> None:
        """Messages that cannot be decoded, or not taken."""
        rng = np.random.default_rng(seed)
        good = {kind: encode_embedding(embedding(seed, kind, 1)) for kind in Kind}
        for number in range(count):
            kind = tuple(Kind)[number % 2]
            key, value = image_id(seed).encode(), good[kind]
            if number % 3 == 0:
                value = b"\xff" + rng.bytes(int(rng.integers(1, 400)))
            elif number % 3 == 1:
                value = value[: len(value) // 2]
            else:
                key = b"somebody else"
            self._send(kind, key, value)
        self.sent.bad += count
        self._producer.flush()

    def _half(self, number: int, kind: Kind, time_ms: int = 0) -> None:
        half = embedding(number, kind, time_ms or time.time_ns() // 1_000_000)
        self._send(kind, half.image_id.encode(), encode_embedding(half))

    def _send(self, kind: Kind, key: bytes, value: bytes) -> None:
        self._producer.send(EMBEDDINGS[kind], key=key, value=value)
        self.sent.messages += 1


@contextmanager
def traffic(settings: Settings, sent: Sent | None = None) -> Iterator[Traffic]:
    """A producer with its account."""
    producer = make_producer(settings.kafka)
    try:
        yield Traffic(producer, Sent() if sent is None else sent)
    finally:
        producer.close()
