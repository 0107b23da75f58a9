"""The sensor that tells people about problems by webhook and e-mail, if the settings name any."""

from datetime import UTC, datetime

import dagster as dg

from resources.instance_problems import instance_problems
from resources.own_runs import location_label
from resources.platform import PlatformResource


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends one message when a check turns red, a run fails or hours are missing for an hour, and one when "
    "that is over, to the webhook and the addresses of the settings alerts.*. Without either it does nothing. What "
    "cannot be delivered is sent again.",
)
def alerts_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult | dg.SkipReason:
    """Look once."""
    from neardup_platform.alerts.alerting import tell
    from neardup_platform.alerts.channels import channels
    from neardup_platform.alerts.problems import remembered, to_remember

    settings = platform.settings()
    ways = channels(settings.alerts)
    if not ways or context.repository_def is None:
        return dg.SkipReason("no one is told: set alerts.webhook or alerts.mail_to")
    before = remembered(context.cursor)
    moment = datetime.now(UTC)
    now = instance_problems(
        context.instance,
        context.repository_def,
        before,
        settings.dagster.url,
        moment,
        location_label(context),
    )
    done = tell(before, now, ways, round(1_000 * moment.timestamp()))
    for failure in done.failures:
        context.log.warning("an alert was not delivered and is sent again: %s", failure)
    said = [f"{done.sent} sent"] if done.sent else []
    reason = "; ".join([f"{len(now)} open", *said, *done.failures])
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=to_remember(done.problems))
