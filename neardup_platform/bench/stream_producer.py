"""The producing process of `neardup bench stream`: synthetic embeddings at a fixed rate.

`python -m neardup_platform.bench.stream_producer FIRST COUNT RATE`; rate 0 is as fast as can be. Vectors are
made before the clock starts, so that making them does not disturb the rate. An image's event time is the moment
its second embedding is handed to the producer: latency counts from there.
"""

import sys
import time
from dataclasses import replace

from neardup_platform.bench.synthetic import embeddings
from neardup_platform.messages.codec import encode_embedding
from neardup_platform.messages.kafka_publisher import make_producer
from neardup_platform.messages.kafka_topics import EMBEDDINGS
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings


def produce(first: int, count: int, rate_per_s: float, settings: Settings) -> None:
    """Publish `count` images, the n-th at n / rate seconds after the start."""
    models = read_card(settings.scoring.model or SHIPPED_FOLDER).expects
    images = [embeddings(first + n, models, 0) for n in range(count)]
    producer = make_producer(settings.kafka, linger_ms=0 if rate_per_s else 5)
    begun = time.monotonic()
    for n, halves in enumerate(images):
        ahead = begun + n / rate_per_s - time.monotonic() if rate_per_s else 0.0
        if ahead > 0:
            time.sleep(ahead)
        now_ms = time.time_ns() // 1_000_000
        for half in halves:
            stamped = replace(half, event_time_ms=now_ms)
            producer.send(EMBEDDINGS[half.kind], key=half.image_id.encode(), value=encode_embedding(stamped))
    producer.flush()
    producer.close()


if __name__ == "__main__":
    _first, _count, _rate = sys.argv[1:4]
    produce(int(_first), int(_count), float(_rate), Settings())
