"""The jobs `pause_stream_worker` and `resume_stream_worker`: an operator's pause, of every machine."""

import dagster as dg

from resources.pause_sign import pause_everywhere, paused_anywhere_by, resume_everywhere
from resources.platform import PlatformResource


@dg.op
def write_pause(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Pause the worker."""
    pause_everywhere(context.instance, platform.home(), by=f"Dagster run {context.run_id}")
    context.log.info("paused: the worker stops within seconds; launch resume_stream_worker to continue")


@dg.op
def lift_pause(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
    """Let the sensor start the worker again."""
    by = paused_anywhere_by(context.instance, platform.home())
    resume_everywhere(context.instance, platform.home())
    context.log.info(f"resumed; it was paused by {by}" if by else "the worker was not paused")


@dg.job(
    description="Stops the stream worker cleanly and keeps it stopped until resume_stream_worker.",
)
def pause_stream_worker() -> None:
    """One op: `write_pause`."""
    write_pause()


@dg.job(
    description="Lifts a pause; the sensor then starts the stream worker within seconds.",
)
def resume_stream_worker() -> None:
    """One op: `lift_pause`."""
    lift_pause()
