"""The sensor that registers complete data sets on S3 as partitions, and requests a run for each."""

import json

import dagster as dg

from assets.bootstrap import data_set_partitions
from resources.platform import PlatformResource

_JOB = "bootstrap"


@dg.sensor(
    job_name=_JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks for data sets under bootstrap.prefix on S3. A complete one, with a manifest.json whose sizes "
    "agree or with _SUCCESS, becomes a partition of bootstrap/images and gets one run; a replaced file makes "
    "another version, with a run of its own. Incomplete ones are named, and looked at again. A data set that was "
    'loaded by command line gets its partition and no run, and one whose manifest has "hold": true, as that of '
    "neardup bootstrap NAME --from FOLDER --check, neither before it is loaded.",
)
def data_sets_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformResource
) -> dg.SensorResult | dg.SkipReason:
    """Compare the prefix with the partitions once."""
    from neardup_platform.bootstrap.completeness import incomplete_in_words
    from neardup_platform.bootstrap.s3_data_sets import find_data_sets
    from neardup_platform.bootstrap.s3_progress import is_finished
    from neardup_platform.errors import BadArtefact, ServerUnavailable, SetupError
    from neardup_platform.operations.kafka_bootstrap import load_name
    from neardup_platform.s3_client import open_s3

    try:
        settings = platform.settings()
        s3 = open_s3(settings.s3)
        found = find_data_sets(s3, settings.s3.bucket, settings.bootstrap.prefix)
        known = _known(context)
        held = {load_name(each) for each in found.complete if each.held} - known
        new = [each for each in map(load_name, found.complete) if each not in known]
        # Those that are held come last, so that they keep no other waiting.
        new = sorted(new, key=lambda each: each in held)[: settings.bootstrap.most_requested]
        finished = {each for each in new if is_finished(s3, settings.s3.bucket, each)}
        held -= finished
        new = [each for each in new if each not in held]
    except (ServerUnavailable, SetupError, BadArtefact) as error:
        return dg.SkipReason(f"data sets cannot be looked for: {error}")
    waiting = incomplete_in_words(found.incomplete)
    requested = [dg.RunRequest(run_key=each, partition_key=each) for each in new if each not in finished]
    if waiting and requested:
        context.log.warning(waiting)
    known &= {load_name(each) for each in found.complete}
    kept = f", {len(held)} held until neardup bootstrap NAME" if held else ""
    nothing = f"{len(found.complete)} complete, each with its partition{kept}" + (f"; {waiting}" if waiting else "")
    return dg.SensorResult(
        run_requests=requested or None,
        skip_reason=None if requested else dg.SkipReason(nothing),
        dynamic_partitions_requests=[data_set_partitions.build_add_request(new)] if new else None,
        cursor=json.dumps(sorted({*known, *new})),
    )


def _known(context: dg.SensorEvaluationContext) -> set[str]:
    """The versions that earlier ticks have dealt with.

    Dagster adds partitions before it makes runs, and keeps the cursor after them: a version of a tick that died in
    between has its partition, and no run. Without a cursor, those with a partition count.
    """
    try:
        return set(json.loads(context.cursor or ""))
    except (ValueError, TypeError):
        return set(context.instance.get_dynamic_partitions(str(data_set_partitions.name)))
