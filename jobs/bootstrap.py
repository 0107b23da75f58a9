"""The job that loads one data set."""

import dagster as dg

from assets.bootstrap import bootstrap_images

bootstrap = dg.define_asset_job(
    "bootstrap",
    dg.AssetSelection.assets(bootstrap_images),
    description="Checks one version of a data set on S3, and loads it while the stream runs: images with a given head "
    "keep it, the others are decided in order of event time. With `dry_run` it only checks, and shows every reason.",
)
