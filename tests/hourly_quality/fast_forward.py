"""A day in fast-forward: real Kafka, S3, stream worker, API and assets, over simulated hours.

Only the clock is simulated, and scores follow from cosines. Messages get the timestamps of the simulated hours, from
their producers and from the worker, which takes its clock as an argument. Images come in a burst every quarter of an
hour. Of each thousand a few are refused and a few lack an embedding, on the best of days.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from numpy.typing import NDArray

from neardup_platform.clock import ManualClock
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.topics import connection
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.matching import Matching
from neardup_platform.records import Kind
from neardup_platform.scoring.card import SHIPPED_FOLDER, Card, read_card
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from neardup_platform.stream.assembly import open_worker
from neardup_platform.stream.liveness import Liveness
from neardup_platform.stream.worker import Worker
from neardup_platform.terms.hyperplanes import TermSpace, save_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.opening import open_index
from neardup_platform.testing import CosineScorer, eventually
from neardup_platform.testing.traffic import TRAFFIC_MODELS, Traffic, day_curve, joined
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS

BURSTS = 4
_BURST_MS = 400
_DELAY_MS = 100
_HOUR_MS = 3_600_000
# Of images, in every hour.
_REFUSED, _UNPAIRED = 0.003, 0.003


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in an hour; shares are of its images.

    Attributes:
        spam: copies of one picture, in addition.
        shift: of the vectors, by another model.
        garbage: share of `lsh` embeddings that are not finite.
        dead_from: the burst from which no `pair` embedding is announced.
        delay_ms: how much longer decisions take.
        unread_from: the burst from which retention deletes what the worker has not read.
        min_overlap: equal terms that a candidate must have: a search that finds little.
    """

    spam: float = 0.0
    shift: float = 0.0
    garbage: float = 0.0
    dead_from: int = BURSTS
    delay_ms: int = 0
    unread_from: int = BURSTS
    min_overlap: int = 0


NONE = Fault()


class Cosines(CosineScorer):
    """Takes the place of the classifier that a card describes; as its scores, most are near 0 or near 1."""

    def __init__(self, _settings: Settings | None = None) -> None:
        self.card: Card = read_card(SHIPPED_FOLDER)
        super().__init__(self.card.version, 0.9, 0.7, TRAFFIC_MODELS)

    def score(
        self, a: ImageVectors, rows_a: NDArray[np.int64], b: ImageVectors, rows_b: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        cosines = super().score(a, rows_a, b, rows_b)
        return np.asarray(1 / (1 + np.exp(-40 * (cosines - 0.8))), np.float32)

    def load_active(self, _promoted: str) -> "Cosines":
        return self

    def load(self, _folder: object) -> "Cosines":
        return self


def fitted(settings: Settings) -> Settings:
    """The settings with a term space for this traffic."""
    vectors = np.array([vector for _, vector in Traffic(seed=1).pictures(1_000)])
    model = TRAFFIC_MODELS[Kind.LSH].version
    path = settings.home / "traffic-terms.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_term_space(fit_term_space(vectors, model, tables=64, bits=6, whitening=0.0, seed=1), path)
    return settings.model_copy(update={"terms": settings.terms.model_copy(update={"space": path})})


def models(settings: Settings, space: TermSpace) -> Models:
    """What the API searches with."""
    scorer = Cosines()
    matching = Matching.of(settings, scorer)

    def follow_index(source: str, known: TermIndex | None) -> TermIndex:
        return open_index(settings.index_path, space, settings.terms, source, writable=False, known=known)

    def no_pictures(_: Any) -> Any:
        raise AssertionError("no pictures here")

    return Models(
        *(space, scorer, TRAFFIC_MODELS, matching, no_pictures, 1),
        *(follow_index, settings.vectors_path, lambda _: (scorer, matching)),
    )


class Day:
    """Simulated hours, one after the other.

    Args:
        settings: of real servers, with a term space of `fitted`.
        start: of the first hour, with time zone.
        most: images in the busiest hour.
        first: hour of the day at the start.
        steep: power of the curve of the day; at 2, the quietest hour has a hundredth of the busiest.
        seed: of the traffic.

    Attributes:
        decided: images that the worker has decided.
        searchable: those of them that its index holds.
    """

    def __init__(
        self, settings: Settings, start: datetime, most: int, first: int, *, steep: float = 1.0, seed: int = 0
    ) -> None:
        self.settings = settings
        self.decided = self.searchable = self._sent = 0
        self._hour, self._most, self._of_day, self._steep = start, most, first, steep
        self._traffic, self._rng = Traffic(seed), np.random.default_rng(seed)
        self._producer: KafkaProducer = make_producer(settings.kafka)
        self._clock = ManualClock(_ms(start))
        self._open, self._worker, self._min_overlap = ExitStack(), None, 0

    def close(self) -> None:
        self._stop_worker()
        self._producer.close()

    def hour(self, fault: Fault = NONE) -> datetime:
        """Live through an hour; returns its start. What `fault.unread_from` leaves unread is there until `forget`."""
        hour, count = self._hour, round(self._most * day_curve(self._of_day % 24) ** self._steep)
        for number in range(BURSTS):
            sent, decided = self._burst(hour, number, count, fault)
            self._clock.advance(_BURST_MS + _DELAY_MS + fault.delay_ms)
            if number < fault.unread_from:
                self._sent += sent
                self.decided += decided
                self._work(self._worker_with(fault.min_overlap))
            else:
                self._stop_worker()
        self._hour += timedelta(hours=1)
        self._of_day += 1
        self._set(_ms(self._hour))
        return hour

    def _worker_with(self, min_overlap: int) -> Worker:
        """The worker that runs, or another one with this setting."""
        if self._worker is None or min_overlap != self._min_overlap:
            self._stop_worker()
            terms = self.settings.terms.model_copy(update={"min_overlap": min_overlap})
            settings = self.settings.model_copy(update={"terms": terms})
            liveness = Liveness(settings, self._clock, lambda _: None)
            self._worker = self._open.enter_context(open_worker(settings, self._clock, liveness, Cosines))
            self._min_overlap = min_overlap
        return self._worker

    def _stop_worker(self) -> None:
        self._open.close()
        self._worker = None

    def forget(self) -> None:
        """Delete everything that was announced, as retention does."""
        consumer = KafkaConsumer(**connection(self.settings.kafka))
        partitions = [
            TopicPartition(topic, number)
            for topic in EMBEDDINGS.values()
            for number in consumer.partitions_for_topic(topic)
        ]
        ends = consumer.end_offsets(partitions)
        consumer.close()
        admin = KafkaAdminClient(**connection(self.settings.kafka))
        admin.delete_records(ends)
        admin.close()

    def _burst(self, hour: datetime, number: int, count: int, fault: Fault) -> tuple[int, int]:
        """Publish a burst; returns how many messages it has, and how many of its images will be decided."""
        self._set(_ms(hour) + number * _HOUR_MS // BURSTS + 10_000)
        return self._announce(count // BURSTS, fault, dead=number >= fault.dead_from)

    def _set(self, now_ms: int) -> None:
        self._clock.advance(now_ms - self._clock.now_ms())

    def _announce(self, count: int, fault: Fault, *, dead: bool) -> tuple[int, int]:
        pictures = self._traffic.pictures(count, spam=round(fault.spam * count), shift=fault.shift)
        refused = self._rng.random(len(pictures)) < _REFUSED
        refused[: round(fault.garbage * len(pictures))] = True
        unpaired = self._rng.random(len(pictures)) < (1.0 if dead else _UNPAIRED)
        begin = self._clock.now_ms()
        for number, (image_id, vector) in enumerate(pictures):
            at_ms = begin + _BURST_MS * number // len(pictures)
            image = joined(image_id, vector * np.nan if refused[number] else vector, at_ms)
            for embedding in (image.lsh,) if unpaired[number] else (image.lsh, image.pair):
                self._producer.send(
                    EMBEDDINGS[embedding.kind],
                    key=image_id.encode(),
                    value=encode_embedding(embedding),
                    timestamp_ms=at_ms,
                )
        self._producer.flush()
        return 2 * len(pictures) - int(unpaired.sum()), int((~refused & ~unpaired).sum())

    def _work(self, worker: Worker) -> None:
        """Let the worker read everything, and decide, give up and publish all that it can."""
        idle_ms = self.settings.join.idle_s * 1_000

        def done() -> bool:
            worker.turn()
            found = worker.metrics()
            read = found.get("received", 0) >= self._sent and found["watermark_delay_ms"] <= idle_ms
            return read and found["images"] >= self.decided and not found["outbox"]

        eventually(done, lambda: f"{worker.metrics()} of {self.decided} images, {self._sent} messages")
        self.searchable = int(worker.metrics()["index_images"])


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)
