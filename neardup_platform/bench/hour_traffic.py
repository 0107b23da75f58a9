"""The publishing process of `neardup bench logs`: what an hour of a stream leaves in Kafka, with the hour's timestamps.

`python -m neardup_platform.bench.hour_traffic HOUR IMAGES PART PARTS`: images PART, PART + PARTS, … of the hour. An
image has both embeddings and a decision with twelve candidates; every third has timings, every thousandth a dead
letter, every ten-thousandth an expiry.
"""

import sys
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from neardup_platform.bench.synthetic import image_id, many_vectors
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.records import Kind
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decision_event_id
from neardup_platform.wire.topics import DEAD_LETTER, DEBUG, DECISIONS, EMBEDDINGS, JOIN_REPORT

CANDIDATES = 12
_HOUR_MS = 3_600_000
# Different vectors, more than a codec sees at once: none compresses by its repeats.
_VECTORS = 20_000
_JOINED = 0.4


class _Hour:
    """Messages of an hour, by the number of the image."""

    def __init__(self, settings: Settings, begin_ms: int, images: int) -> None:
        card, space = read_card(settings.scoring.model or SHIPPED_FOLDER), load_term_space(settings.terms.space)
        rng = np.random.default_rng(begin_ms)
        self._models = card.required_models
        self._vectors = {
            kind: [vector.tobytes() for vector in many_vectors(rng, _VECTORS, model.dim).astype("<f2")]
            for kind, model in self._models.items()
        }
        self._terms, self._classifier = space.version, card.version
        self._begin_ms, self._images = begin_ms, images
        # Numbers of their own for each hour.
        self._first = begin_ms // _HOUR_MS * 10_000_000
        self._draws = rng.random((_VECTORS, CANDIDATES), np.float32)
        self._others = rng.integers(1, 10_000_000, (_VECTORS, CANDIDATES))

    def at_ms(self, number: int) -> int:
        """When an image arises."""
        return self._begin_ms + number * _HOUR_MS // self._images

    def messages(self, number: int) -> list[tuple[str, str, int, Any]]:
        """Topic, key, timestamp and message."""
        name, at_ms = image_id(self._first + number), self.at_ms(number)
        found: list[tuple[str, str, int, Any]] = [
            (EMBEDDINGS[kind], name, at_ms, self._embedding(name, kind, number, at_ms)) for kind in EMBEDDINGS
        ]
        found.append((DECISIONS, name, at_ms + 40, self._decision(name, number, at_ms)))
        if number % 3 == 0:
            stages = {"terms": 0.4, "search": 2.5, "score": 1.5, "decide": 0.3}
            detail = pb.DebugDetail(
                event_id=decision_event_id(name, number), image_id=name, batch_images=3, stage_ms=stages
            )
            found.append((DEBUG, name, at_ms + 40, detail))
        if number % 1_000 == 999:
            letter = pb.DeadLetter(
                event_id=name, reason="garbage", topic=EMBEDDINGS[Kind.LSH], value=b"\xff", at_ms=at_ms
            )
            found.append((DEAD_LETTER, name, at_ms, letter))
        if number % 10_000 == 9_999:
            report = pb.ExpiryReport(event_id=name, at_ms=at_ms, lateness_ms=600_000)
            report.halves.add(
                image_id=f"half-{number}", kind=pb.KIND_PAIR, reason="expired", topic=EMBEDDINGS[Kind.PAIR]
            )
            found.append((JOIN_REPORT, name, at_ms, report))
        return found

    def _embedding(self, name: str, kind: Kind, number: int, at_ms: int) -> Any:
        return pb.EmbeddingReady(
            image_id=name,
            kind=pb.KIND_LSH if kind is Kind.LSH else pb.KIND_PAIR,
            model_version=self._models[kind].version,
            vector=self._vectors[kind][number % _VECTORS],
            dtype=pb.DTYPE_FLOAT16,
            event_time_ms=at_ms,
        )

    def _decision(self, name: str, number: int, at_ms: int) -> Any:
        row = number % _VECTORS
        others = [image_id(self._first - int(other)) for other in self._others[row]]
        scores = np.sort(self._draws[row])[::-1]
        joined = scores[-1] < _JOINED / CANDIDATES
        return pb.Decision(
            event_id=decision_event_id(name, number),
            sequence=self._first + number,
            image_id=name,
            head=others[0] if joined else name,
            score=scores[0],
            candidates=[
                pb.Candidate(image_id=other, overlap=20, score=score, head=other)
                for other, score in zip(others, scores.tolist(), strict=True)
            ],
            candidates_found=150,
            threshold=0.9,
            head_threshold=0.5,
            event_time_ms=at_ms,
            decided_ms=at_ms + 40,
            corpus_images=number,
            terms_version=self._terms,
            classifier_version=self._classifier,
        )


def publish(settings: Settings, hour: datetime, images: int, part: int, parts: int) -> None:
    """Publish some of the images of an hour, in the order of time."""
    traffic = _Hour(settings, round(hour.timestamp() * 1_000), images)
    producer = make_producer(settings.kafka, linger_ms=50)
    for number in islice(range(images), part, None, parts):
        for topic, key, at_ms, message in traffic.messages(number):
            producer.send(topic, key=key.encode(), value=message.SerializeToString(), timestamp_ms=at_ms)
    producer.flush()
    producer.close()


if __name__ == "__main__":
    _hour, _images, _part, _parts = sys.argv[1:5]
    publish(Settings(), datetime.fromisoformat(_hour).astimezone(UTC), int(_images), int(_part), int(_parts))
