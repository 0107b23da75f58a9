"""`neardup reprocess`: decides images again: all of them by the active rules, or chosen ones by given rules."""

from pathlib import Path

import click

from neardup_platform.cli.moments import Moment
from neardup_platform.cli.output import json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, wait_option
from neardup_platform.counted import counted
from neardup_platform.operations.in_words import redecide_in_words, reprocess_in_words, sample_in_words
from neardup_platform.operations.sampling import DEFAULT_SAMPLE, MAX_SAMPLE
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import RedecideArguments, ReprocessArguments

_CHOOSING = ("image_ids", "ids_file", "cluster", "query", "since_ms", "until_ms", "decided_by")
_RULES = ("threshold", "head_threshold", "classifier", "images_per_s")
_score = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(
    epilog="Example:  neardup reprocess --cluster bridge.jpg --threshold 0.9 --dry-run && neardup reprocess --cluster "
    "bridge.jpg --threshold 0.9"
)
@click.option("--image", "image_ids", multiple=True, help="This image; may be given several times.")
@click.option(
    "--ids-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The ids in a file, one a line."
)
@click.option("--cluster", help="The members of the cluster of this image.")
@click.option(
    "--query", help="The image_id column of a DuckDB `select` over the table `decisions`, for --since … --until."
)
@click.option("--since", "since_ms", type=Moment(), help="Images decided from this time on.")
@click.option("--until", "until_ms", type=Moment(), help="Images decided before this time.")
@click.option("--decided-by", help="Images decided by this version of the classifier.")
@click.option("--threshold", type=_score, help="The score of a match. Default: as for new images.")
@click.option("--head-threshold", type=_score, help="The score required against the head. Default: likewise.")
@click.option("--classifier", help="Decide by this version. Default: the active one.")
@click.option("--images-per-s", type=click.IntRange(1, 100_000), help="No more than this many. Default: 1,000.")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option(
    "--sample",
    type=click.IntRange(1, MAX_SAMPLE),
    help=f"With --dry-run of all images: decide as many, in whole clusters. Default: {DEFAULT_SAMPLE:,}.",
)
@click.option("--undo", help="The id of the command to undo: the images that it moved return.")
@wait_option
@click.option(
    "--timeout", "timeout_s", type=float, default=86_400.0, show_default=True, help="Seconds to wait with --wait."
)
@json_option
def reprocess(
    wait: bool,
    timeout_s: float,
    as_json: bool,
    dry_run: bool,
    sample: int | None,
    undo: str | None,
    **options: object,
) -> int:
    """Decide images again while the stream runs: all of them, or those that the options choose.

    All of them are decided beside the present store, by the active rules, and replace it at once; the dry run decides a
    sample. Chosen ones are decided in place, by the rules given here; what moved can be undone with --undo.
    """
    settings, bound_s = resolve(Settings()), timeout_s if wait else None
    choosing = {name: options[name] for name in _CHOOSING if options[name] not in (None, ())}
    rules = {name: options[name] for name in _RULES if options[name] is not None}
    if sample is not None and (choosing or undo is not None or not dry_run):
        raise click.UsageError("--sample is for the --dry-run of all images")
    if undo is not None:
        if choosing or set(rules) - {"images_per_s"}:
            raise click.UsageError("--undo takes no images and no rules: it returns what that command moved")
        arguments = RedecideArguments.model_validate({"undo": undo, "dry_run": dry_run, **rules})
        return send_to_worker(settings, arguments, as_json, redecide_in_words, bound_s)
    if not choosing:
        if rules:
            raise click.UsageError("rules are for chosen images: give --image, --cluster, --since, …")
        if dry_run:
            sampled = _selected(settings, {"sample": sample or DEFAULT_SAMPLE})
            arguments = RedecideArguments(selection=sampled, dry_run=True)
            return send_to_worker(settings, arguments, as_json, sample_in_words, bound_s)
        return send_to_worker(settings, ReprocessArguments(), as_json, reprocess_in_words, bound_s)
    arguments = RedecideArguments.model_validate(
        {"selection": _selected(settings, choosing), "dry_run": dry_run, **rules}
    )
    return send_to_worker(settings, arguments, as_json, redecide_in_words, bound_s)


def _selected(settings: Settings, choosing: dict[str, object]) -> str:
    """Choose images and put them on S3; returns the key."""
    # boto3 takes a while to import, and reprocessing all images does without.
    from neardup_platform.operations.selection import Wanted, read_ids, select

    ids_file = choosing.pop("ids_file", None)
    if isinstance(ids_file, Path):
        if "image_ids" in choosing:
            raise click.UsageError("use either --image or --ids-file")
        choosing["image_ids"] = read_ids(ids_file)
    key, images = select(settings, Wanted(**choosing))  # type: ignore[arg-type]
    report(f"{counted(images, 'image')} chosen")
    return key
