"""The sensor that has cells fitted to a store that has grown, and exchanged by its worker."""

import time

import dagster as dg

from assets.search_cells import LEAST_IMAGES
from resources.platform import PlatformResource
from resources.run_queue import IN_PROGRESS

# A run that fails is requested again after so long, if cells are still due.
_AGAIN_S = 21_600
_JOB = "fit_cells"
_RUNS_IN_PROGRESS = dg.RunsFilter(job_name=_JOB, statuses=list(IN_PROGRESS))


@dg.sensor(
    job_name=_JOB,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a run of the job fit_cells when the store has reached terms.fit_cells_from images, and when "
    "it has grown fourfold since cells were exchanged, while a worker runs. Not if the setting terms.fit_cells_from is "
    "0, nor while terms.cells pins a file.",
)
def cells_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.RunRequest | dg.SkipReason:
    """Compare the store with the cells that it has."""
    from neardup_platform.errors import NeardupError
    from neardup_platform.operations.fitted_cells import cells_status
    from neardup_platform.supervise.heartbeat import read_heartbeat

    settings, now_s = platform.local_settings(), time.time()
    heartbeat = read_heartbeat(settings.home)
    if heartbeat is None or not heartbeat.alive(round(1_000 * now_s), settings.worker.stalled_s):
        return dg.SkipReason("no worker runs, so none could exchange its cells")
    if heartbeat.metrics.get("images", 0) < settings.terms.fit_cells_from:
        return dg.SkipReason(f"there are fewer than {settings.terms.fit_cells_from:,} images (terms.fit_cells_from)")
    if context.instance.get_runs(_RUNS_IN_PROGRESS, limit=1):
        return dg.SkipReason("cells are being fitted or exchanged")
    try:
        status = cells_status(settings)
    except NeardupError as error:
        return dg.SkipReason(f"the store cannot be read: {error}")
    if not status.due:
        return dg.SkipReason(
            "cells are never fitted without being asked: terms.fit_cells_from is 0, or terms.cells is set"
            if status.next_images is None
            else f"cells {status.cells} serve until {status.next_images:,} images"
        )
    return dg.RunRequest(
        run_key=f"{len(status.exchanges)}-{status.cells}-{int(now_s // _AGAIN_S)}",
        # The index holds few of the members of large clusters.
        run_config={"ops": {"search_cells": {"config": {"least_images": LEAST_IMAGES}}}},
    )
