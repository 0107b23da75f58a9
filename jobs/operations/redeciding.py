"""The jobs `reprocess`, `reprocess_images`, `reprocess_hour` and `undo_reprocess`: images decided again, and back."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from assets.topic_logs import hours
from jobs.operations.metadata import rows, shown
from jobs.operations.moments import moment_ms
from jobs.operations.operation_job import DryRunConfig, Operation, Outcome, operation
from neardup_platform.counted import counted
from neardup_platform.operations.explorer_links import image_url
from neardup_platform.operations.in_words import redecide_in_words, reprocess_in_words, sample_in_words
from neardup_platform.operations.sampling import DEFAULT_SAMPLE, MAX_SAMPLE
from neardup_platform.wire.command_arguments import RedecideArguments, ReprocessArguments
from neardup_platform.wire.validation import MAX_ID_BYTES

if TYPE_CHECKING:
    from neardup_platform.operations.selection import Wanted

_DAY_S = 86_400.0
_FIELDS = RedecideArguments.model_fields
_TIME = "ISO 8601, in UTC unless it says otherwise, as in `2026-01-31T12:00`."


class ReprocessConfig(DryRunConfig):
    """How many images the dry run decides, and how long to wait."""

    sample: int = Field(
        DEFAULT_SAMPLE,
        ge=1,
        le=MAX_SAMPLE,
        description=f"In the dry run: decide as many images, in whole clusters; 1 to {MAX_SAMPLE}.",
    )
    timeout_s: float = Field(
        _DAY_S, ge=1, le=_DAY_S, description="How long to wait for the worker's answer, in seconds, 1 to 86400."
    )


class RulesConfig(DryRunConfig):
    """What decides, and how fast."""

    threshold: float | None = Field(None, gt=0, lt=1, description=_FIELDS["threshold"].description)
    head_threshold: float | None = Field(None, gt=0, lt=1, description=_FIELDS["head_threshold"].description)
    classifier: str | None = Field(None, max_length=64, description=_FIELDS["classifier"].description)
    images_per_s: int = Field(1_000, ge=1, le=100_000, description=_FIELDS["images_per_s"].description)
    timeout_s: float = Field(
        _DAY_S, ge=1, le=_DAY_S, description="How long to wait for the worker's answer, in seconds, 1 to 86400."
    )

    def rules(self) -> dict[str, float | int | str | bool | None]:
        """The arguments of the command that are the same for every selection."""
        return {
            "dry_run": self.dry_run,
            "threshold": self.threshold,
            "head_threshold": self.head_threshold,
            "classifier": self.classifier,
            "images_per_s": self.images_per_s,
        }


class ImagesConfig(RulesConfig):
    """Which images: by id, by cluster or by query; a time and a classifier narrow it down, or choose among all."""

    image_ids: list[str] = Field([], max_length=100_000, description="These images, as `bridge--crop.jpg`.")
    cluster: str | None = Field(
        None, min_length=1, max_length=MAX_ID_BYTES, description="The members of the cluster of this image."
    )
    query: str | None = Field(
        None,
        max_length=20_000,
        description="The column image_id of a DuckDB `select` over the table `decisions`, which holds the hours of "
        "logs/decisions from since to until, as `select image_id from decisions where kind = 'altered-copy'`.",
    )
    since: str | None = Field(None, max_length=40, description=f"Images decided from this time on: {_TIME}")
    until: str | None = Field(None, max_length=40, description=f"Images decided before this time: {_TIME}")
    decided_by: str | None = Field(
        None, max_length=64, description="Images decided by this version of the classifier, 12 hex digits."
    )


class UndoConfig(DryRunConfig):
    """Which command to undo."""

    command_id: str = Field(
        min_length=1,
        max_length=128,
        description="The id of the command whose moves to undo: in the metadata and the tag `neardup/command` of its "
        "run. The moves of the newest 20 are kept.",
    )


@operation(
    "decide_all_again",
    ReprocessConfig,
    "Decides every image again by the active classifier, thresholds and overrides, beside the present store and while "
    "the stream runs, then puts the result in its place. Images may change their cluster; each that does gets a new "
    "decision. The dry run decides a sample, in whole clusters, with the other images where they are, and shows how "
    "many would move: by recorded scores where the active classifier decided, else by another search. Terminating the "
    "run cancels it before anything is replaced; the job `undo` reverts it afterwards.",
)
def reprocess(operation: Operation, config: ReprocessConfig) -> Outcome:
    """Send `redecide` for a sample, or `reprocess`."""
    from neardup_platform.operations.selection import Wanted

    if config.dry_run:
        return _redecide(operation, {"dry_run": True}, Wanted(sample=config.sample), sample_in_words)
    answer = operation.carry_out(ReprocessArguments()).flat()
    return Outcome(reprocess_in_words(answer), shown(operation.settings, answer))


_DOES = (
    "the rules given here, in place and while the stream runs. Images that come into another cluster get a new "
    "decision; the others stay as they are. A head keeps its cluster as long as a member stays that is not chosen. The "
    "dry run shows how many would move, and examples. The job `undo_reprocess` reverts it as a unit. Terminating the "
    "run stops it after the present batch; what was moved stays, and can be undone."
)


@operation("decide_images_again", ImagesConfig, f"Decides chosen images again by {_DOES}")
def reprocess_images(operation: Operation, config: ImagesConfig) -> Outcome:
    """Send `redecide`."""
    from neardup_platform.operations.selection import Wanted

    wanted = Wanted(
        config.image_ids,
        config.cluster,
        config.query,
        moment_ms("since", config.since),
        moment_ms("until", config.until),
        config.decided_by,
    )
    return _redecide(operation, config.rules(), wanted)


@operation(
    "decide_hour_again",
    RulesConfig,
    f"Decides the images of an hour again by {_DOES} A backfill over several hours launches a run for each.",
    hours,
)
def reprocess_hour(operation: Operation, config: RulesConfig) -> Outcome:
    """Send `redecide`."""
    from neardup_platform.operations.selection import Wanted
    from neardup_platform.stream.redecide.s3_selections import NothingSelected

    since_ms, until_ms = (int(1_000 * each.timestamp()) for each in operation.context.partition_time_window)
    try:
        return _redecide(operation, config.rules(), Wanted(since_ms=since_ms, until_ms=until_ms))
    except NothingSelected:
        # A backfill over a day need not know which hours were quiet.
        return Outcome("no image was last decided in this hour: there is nothing to decide again")


@operation(
    "return_images",
    UndoConfig,
    "Returns the images that a run of `reprocess_images` or `reprocess_hour` moved to the clusters they came from, "
    "while the stream runs. Images that were corrected, decided again or forgotten since stay as they are, and are "
    "counted. The dry run shows how many would return. An undo can be undone.",
)
def undo_reprocess(operation: Operation, config: UndoConfig) -> Outcome:
    """Send `redecide` with `undo`."""
    answer = operation.carry_out(RedecideArguments(undo=config.command_id, dry_run=config.dry_run)).flat()
    return Outcome(redecide_in_words(answer), shown(operation.settings, answer))


def _redecide(
    operation: Operation,
    rules: Mapping[str, float | int | str | bool | None],
    wanted: "Wanted",
    in_words: Callable[[Mapping[str, Any]], str] = redecide_in_words,
) -> Outcome:
    from neardup_platform.operations.selection import select

    key, images = select(operation.settings, wanted)
    operation.report(f"{counted(images, 'image')} chosen: {key}")
    arguments = RedecideArguments.model_validate({"selection": key, **rules})
    answer = operation.carry_out(arguments).flat()
    examples = answer.pop("examples")
    links = [{**each, "page": image_url(operation.settings, each["image_id"])} for each in examples]
    metadata = shown(operation.settings, {"selection": key, **answer})
    return Outcome(in_words({**answer, "examples": examples}), metadata | ({"examples": rows(links)} if links else {}))
