"""The asset `bootstrap/images`: a partition for each version of a data set on S3, and what became of its rows.

S3 prefix → sensor `data_sets_sensor` → **partition, one run: check, load** → worker. boto3, Arrow and Kafka are
imported when a data set is loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.retries import retried
from assets.stream_worker import stream_worker_asset
from assets.table_metadata import PARTITION_ROWS, URI, table
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.operations.kafka_bootstrap import Bootstrap, Bootstrapped

data_set_partitions = dg.DynamicPartitionsDefinition(name="data_sets")
KEY = dg.AssetKey(["bootstrap", "images"])

_FATES = {
    "headed": "with a given head, which is kept",
    "undecided": "without head: decided in order of event time",
    "halves": "one embedding: published, waits for its partner",
    "joined": "second row of an image in two rows",
    "repeated": "equal to an earlier row",
    "bad_rows": "bad: not loaded",
}
_DONE = {
    "loaded": "taken in with their heads",
    "decided": "decided by the pipeline",
    "published": "unpaired embeddings published",
    "skipped": "skipped by the worker: bad vectors, unknown heads",
    "known": "known before, unchanged",
    "conflicting": "known with other vectors, unchanged",
    "elsewhere": "of known and conflicting: in another cluster than given, unchanged",
    "forgotten": "forgotten since their event time",
}


class BootstrapConfig(dg.Config):
    """How a data set is loaded."""

    dry_run: bool = Field(
        False, description="true: check every row with its vectors, show the report, and load nothing."
    )
    skip_bad: bool = Field(
        False, description="true: skip and count bad rows. false: a bad row refuses the data set before any is loaded."
    )
    again: bool = Field(
        False,
        description="true: load a version that was loaded before, because the store was replaced since. Images that "
        "the platform knows stay as they are.",
    )


@dg.asset(
    key=KEY,
    pool="bootstrap",
    partitions_def=data_set_partitions,
    group_name="bootstrap",
    kinds={"s3", "parquet", "rocksdb"},
    owners=["team:operations"],
    tags={"neardup/kind": "operation"},
    metadata=code_reference(__file__),
    deps=[stream_worker_asset],
    output_required=False,
    check_specs=[
        dg.AssetCheckSpec(
            "no_row_is_left_out",
            asset=KEY,
            partitions_def=data_set_partitions,
            description="No row was bad, and the platform had no image with other vectors or in another cluster than "
            "given. A warning names the counts; the report of the partition names the rows. Correct them and upload "
            "the data set again: its other images are known then. Images in another cluster stay there; to move them, "
            "launch the job override_csv.",
        )
    ],
    description="Existing corpora, brought as Parquet files under `bootstrap.prefix` on S3: a partition for each "
    "version of a data set. The sensor data_sets_sensor registers a data set once it is complete, and requests its "
    "run. All rows are checked before any is loaded; images with a given head keep it, the others are decided in order "
    "of event time while the stream runs. A run that ended in between is continued by executing it again.",
)
def bootstrap_images(
    context: dg.AssetExecutionContext, config: BootstrapConfig, platform: PlatformResource
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Check and load the data set of the partition."""
    from neardup_platform.errors import PermanentError, SetupError
    from neardup_platform.operations.kafka_bootstrap import Bootstrap

    load = None
    name, _, version = context.partition_key.partition("@")
    root = context.run.root_run_id or context.run.run_id
    with retried(context):
        try:
            load = Bootstrap(platform.settings(), name, version, f"Dagster run {root}", context.log.info)
            done = load.check() if config.dry_run else load.run(skip_bad=config.skip_bad, again=config.again)
        except (PermanentError, SetupError) as error:
            found = described(load.checked) if load is not None and load.checked is not None else None
            raise dg.Failure(str(error), metadata=found, allow_retries=False) from error
        except dg.DagsterExecutionInterruptedError:
            _call_off(context, load)
            raise
    if done.loaded is None:
        context.log_event(dg.AssetObservation(KEY, partition=context.partition_key, metadata=described(done)))
        yield verdict(done)
    else:
        yield dg.MaterializeResult(metadata=described(done), check_results=[verdict(done)])


def described(done: "Bootstrapped") -> dict[str, Any]:
    """What the UI shows of a check or a load."""
    from neardup_platform.bootstrap.row_checks import REASONS
    from neardup_platform.operations.kafka_bootstrap import bootstrapped_in_words

    check = done.check
    values = {**check.flat(), "bad_rows": check.bad_rows}
    shown: dict[str, Any] = {
        "summary": bootstrapped_in_words(done.flat()),
        "rows_by_fate": _table({name: values[name] for name in _FATES}, _FATES, "fate"),
        PARTITION_ROWS: check.rows,
        URI: done.uri,
        "report": done.report_uri,
        "clusters_founded": check.founded,
        "heads_outside": check.outside_heads,
        "vectors_checked": "all, by this run" if check.vectors else "those of images with a head by the worker",
    }
    if done.loaded is not None:
        shown |= {"images_by_outcome": _table(done.loaded, _DONE, "outcome"), **done.loaded}
    if done.elsewhere:
        shown["known_in_another_cluster"] = table(asdict(each) for each in done.elsewhere)
        shown["to_move_them"] = (
            "where the data set is right, launch the job override_csv with a row for each image: action move, "
            "image_id, and the given head as other_id"
        )
    if check.last_ms:
        times = {"first_event": check.first_ms, "last_event": check.last_ms}
        shown |= {name: dg.MetadataValue.timestamp(at_ms / 1_000) for name, at_ms in times.items()}
    if check.bad:
        shown["bad_rows_by_reason"] = _table(check.bad, REASONS, "reason")
        shown["bad_rows"] = done.bad_rows_uri
        shown["examples"] = dg.MetadataValue.table([dg.TableRecord(each) for each in values["examples"]])
    return shown


def verdict(done: "Bootstrapped") -> dg.AssetCheckResult:
    """Whether rows of a data set are left out, or would be."""
    loaded = done.loaded or {}
    named = {"skipped": "skipped", "conflicting": "conflicting", "elsewhere": "in another cluster than given"}
    counts = {"bad rows": done.check.bad_rows} | {text: loaded.get(name, 0) for name, text in named.items()}
    left = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return dg.AssetCheckResult(
        passed=not left,
        check_name="no_row_is_left_out",
        severity=dg.AssetCheckSeverity.WARN,
        description=f"left out: {left}" if left else "no row is left out",
        metadata={name.replace(" ", "_"): count for name, count in counts.items()},
    )


def _table(counts: Mapping[str, int], texts: Mapping[str, str], first: str) -> dg.TableMetadataValue:
    kept = [name for name in texts if counts.get(name)]
    return table({first: name, "rows": counts[name], "meaning": texts[name]} for name in kept)


def _call_off(context: dg.AssetExecutionContext, load: "Bootstrap | None") -> None:
    """Cancel the command of a run that Dagster was asked to end; a run that dies leaves its command to the worker."""
    from neardup_platform.errors import NeardupError

    run = context.instance.get_run_by_id(context.run.run_id)
    if load is None or run is None or run.status is not dg.DagsterRunStatus.CANCELING:
        return
    try:
        if command := load.call_off():
            context.log.warning(f"cancelled command {command}: what it has finished stays done")
    except NeardupError as error:
        context.log.error(f"the command of this run could not be cancelled: {error}")
