"""The producing process of `neardup bench stream`: synthetic embeddings at a fixed rate.

`python -m neardup_platform.bench.stream_producer FIRST COUNT RATE`; rate 0 is as fast as can be. Messages are
made before the clock starts, so that making them takes nothing from what is measured. An image's event time is the
moment its embeddings are handed to the producer: latency counts from there.
"""

import sys
import time

from neardup_platform.bench.synthetic import embeddings
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS


def produce(first: int, count: int, rate_per_s: float, settings: Settings) -> None:
    """Publish `count` images, the n-th at n / rate seconds after the start."""
    models = read_card(settings.scoring.model or SHIPPED_FOLDER).expects
    images = [
        [(EMBEDDINGS[half.kind], half.image_id.encode(), encode_embedding(half)) for half in halves]
        for halves in (embeddings(first + n, models, 0) for n in range(count))
    ]
    producer = make_producer(settings.kafka, linger_ms=1 if rate_per_s else 5)
    begun = time.monotonic()
    for n, halves in enumerate(images):
        ahead = begun + n / rate_per_s - time.monotonic() if rate_per_s else 0.0
        if ahead > 0:
            time.sleep(ahead)
        # Of a field that comes twice the later one counts, so the rest need not be encoded again.
        stamp = pb.EmbeddingReady(event_time_ms=time.time_ns() // 1_000_000).SerializeToString()
        for topic, key, value in halves:
            producer.send(topic, key=key, value=value + stamp)
    producer.flush()
    producer.close()


if __name__ == "__main__":
    _first, _count, _rate = sys.argv[1:4]
    produce(int(_first), int(_count), float(_rate), Settings())
