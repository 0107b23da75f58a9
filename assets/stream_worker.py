"""The asset `stream/worker`: its observations are the worker's metrics, every five minutes or when a check changes."""

from collections.abc import Mapping

import dagster as dg

from resources.code_references import code_reference

stream_worker_asset = dg.AssetSpec(
    key=["stream", "worker"],
    group_name="stream",
    kinds={"kafka", "tensorflow", "rocksdb"},
    owners=["team:operations"],
    tags={"neardup/kind": "stream"},
    metadata=code_reference(__file__),
    description="The stream worker, which decides where each image belongs. Its observations are its metrics, every "
    "five minutes and when a check changes: images and clusters so far, lag in messages, images per second, latency, "
    "memory. `neardup status` shows them now.",
)

# What an operator looks for first; the rest follows by name.
_FIRST = ("lag", "images_per_s", "p50_ms", "p99_ms", "images", "clusters", "watermark_delay_ms", "rss_mb")
# Constants, of which `id_space_left_ratio` says what matters.
_LEFT_OUT = frozenset({"ordinals_limit", "sequence_limit", "outbox_number_limit", "command_number_limit"})


def observation(metrics: Mapping[str, float]) -> dg.AssetObservation:
    """The worker's report as an event that Dagster plots; every metric is numeric, whole numbers as integers."""
    names = [*(name for name in _FIRST if name in metrics), *sorted(metrics.keys() - {*_FIRST} - _LEFT_OUT)]
    metadata = {
        name: dg.MetadataValue.int(int(value)) if float(value).is_integer() else dg.MetadataValue.float(float(value))
        for name, value in ((name, metrics[name]) for name in names)
    }
    return dg.AssetObservation(stream_worker_asset.key, metadata=metadata)
