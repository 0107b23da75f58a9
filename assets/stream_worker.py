"""The asset `stream/worker`, whose observations are the worker's metrics, once a minute."""

from collections.abc import Mapping

import dagster as dg

stream_worker_asset = dg.AssetSpec(
    key=["stream", "worker"],
    group_name="stream",
    kinds={"kafka", "tensorflow"},
    description="The stream worker, which decides where each image belongs. Its observations are its metrics "
    "once a minute: images and clusters so far, lag in messages, images per second, latency, memory.",
)


def observation(metrics: Mapping[str, float]) -> dg.AssetObservation:
    """The worker's report as an event that Dagster plots; every metric is numeric, whole numbers as integers."""
    metadata = {
        name: dg.MetadataValue.int(int(value)) if float(value).is_integer() else dg.MetadataValue.float(float(value))
        for name, value in sorted(metrics.items())
    }
    return dg.AssetObservation(stream_worker_asset.key, metadata=metadata)
