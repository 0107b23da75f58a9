"""`neardup bench logs`, on the servers of the session."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from neardup_platform.bench.logs import LogsBench, publish_hour
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.topic_log import LOGS

IMAGES = 1_000
FIELDS = {"engine", "hour", "step", "images", "seconds", "cpu_s", "images_per_s", "bytes", "peak_rss_mb"}


@pytest.mark.slow
def test_bench_logs_measures_every_log_and_the_quality_of_a_whole_hour(empty_log: Settings) -> None:
    own = empty_log.s3.model_copy(update={"bucket": f"bench-{time.time_ns()}"})
    settings = empty_log.model_copy(update={"s3": own})
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    publish_hour(settings, hour, IMAGES)
    bench = LogsBench(settings, IMAGES, lambda _: None)
    bench.measure(hour)
    steps = [f"logs/{log.name}" for log in LOGS] + ["quality/coverage", "quality/drift", "total"]
    assert [row["step"] for row in bench.done] == steps
    assert all(row.keys() == FIELDS and row["seconds"] >= 0 for row in bench.done)
    sizes = {row["step"]: row["bytes"] for row in bench.done}
    # A pair vector has 2,958 bytes that do not compress.
    assert sizes["logs/embeddings_pair"] > 2_958 * IMAGES
    assert sizes["total"] == sum(sizes.values()) - sizes["total"]
    bench.add_stream([10.0, 20.0])
    assert bench.done[-1] == {"engine": "neardup", "step": "stream", "images": 2, "p50_ms": 15.0, "p99_ms": 19.9}
