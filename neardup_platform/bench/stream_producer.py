"""The producing process of `neardup bench stream`: synthetic embeddings at a fixed rate.

`python -m neardup_platform.bench.stream_producer FIRST COUNT RATE`; rate 0 means as fast as possible. The messages of
the first `PREPARED` images are created before the clock starts, so that creating them does not affect the measurement;
those of a longer stream between its images. An image's event time is the time at which its embeddings are passed to the
producer: latency counts from then.
"""

import sys
import time
from itertools import chain, islice

from neardup_platform.bench.synthetic import embeddings
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS

# 200 MB of messages.
PREPARED = 40_000


def produce(first: int, count: int, rate_per_s: float, settings: Settings) -> None:
    """Publish `count` images, the n-th at n / rate seconds after the start."""
    models = read_card(settings.scoring.model or SHIPPED_FOLDER).required_models
    images = (
        [(EMBEDDINGS[one.kind], one.image_id.encode(), encode_embedding(one)) for one in both]
        for both in (embeddings(first + n, models, 0) for n in range(count))
    )
    prepared = list(islice(images, PREPARED))
    producer = make_producer(settings.kafka, linger_ms=1 if rate_per_s else 5)
    started = time.monotonic()
    for n, messages in enumerate(chain(prepared, images)):
        ahead = started + n / rate_per_s - time.monotonic() if rate_per_s else 0.0
        if ahead > 0:
            time.sleep(ahead)
        # If a field occurs twice, the later one wins, so the rest need not be encoded again.
        stamp = pb.EmbeddingReady(event_time_ms=time.time_ns() // 1_000_000).SerializeToString()
        for topic, key, value in messages:
            producer.send(topic, key=key, value=value + stamp)
    producer.flush()
    producer.close()


if __name__ == "__main__":
    _first, _count, _rate = sys.argv[1:4]
    produce(int(_first), int(_count), float(_rate), Settings())
