"""`neardup evaluate`: measures the whole pipeline on labelled pictures."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, load_tensorflow, progress_bar, report
from neardup_platform.settings import Settings

_FILE = click.Path(dir_okay=False, path_type=Path)
_TABLES = ("subsets", "transformations", "kinds")
_BY_SIZE = "by_corpus_size"
_NOT_SHOWN = (*_TABLES, _BY_SIZE, "wrong_match_tail", "turned", "pair_curve", "cluster_sizes", "parts", "classifiers")


@click.command(epilog="Example:  neardup evaluate labelled/manifest.csv --folds 5 --report report/ --json")
@click.argument("manifest", type=_FILE)
@click.option(
    "--details",
    type=_FILE,
    multiple=True,
    help="CSV with the column file (relative to it) and subset, transformation, geom_flip_rotate, template or scene of "
    "the pictures, which MANIFEST lacks. May be repeated.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Split the pictures by group into this many parts; judge each by a classifier trained on the others.",
)
@click.option(
    "--also",
    type=_FILE,
    multiple=True,
    help="With --folds: CSV with the columns file and group, also used to train, never judged. May be repeated.",
)
@click.option(
    "--diverse",
    type=_FILE,
    help="With --folds: CSV with the column file: pictures that all differ, to train on altered copies of them.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Folder for report.html.")
@json_option
def evaluate(
    manifest: Path,
    details: tuple[Path, ...],
    folds: int | None,
    also: tuple[Path, ...],
    diverse: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run the whole pipeline over labelled pictures and measure it.

    MANIFEST is a CSV with the columns file (relative to it) and group. Pictures with the same non-empty group are
    near-duplicates of each other; an empty group marks a distractor. With the column subset, which names the domain or
    origin of a picture, metrics are also by subset. Needs no servers.
    """
    if folds is None and (also or diverse):
        raise click.UsageError("--also and --diverse need --folds: nothing is trained without it")
    from neardup_platform.evaluation.manifest import read_manifest

    settings = Settings()
    rows = read_manifest(manifest, details)
    if report is not None:
        from neardup_platform.evaluation.html_report import prepare_folder

        prepare_folder(report)
    load_tensorflow()
    from neardup_platform.evaluation.cross_validation import cross_validate
    from neardup_platform.evaluation.evaluation import evaluate as run_evaluation
    from neardup_platform.evaluation.metrics import metrics
    from neardup_platform.images.active_embedders import load_embedders

    embedders = load_embedders(settings.images)
    with progress_bar("evaluating", len(rows)) as progress:
        if folds is None:
            evaluation = run_evaluation(rows, settings, progress, embedders=embedders)
        else:
            evaluation = cross_validate(
                rows, folds, settings, progress, _say, also=also, diverse=diverse, embedders=embedders
            )
    measured = metrics(evaluation)
    _warn(measured)
    if report is not None:
        from neardup_platform.evaluation.html_report import write_report
        from neardup_platform.scoring.features import Block

        blocks = [Block(*block) for block in embedders[1].blocks]
        path = write_report(evaluation, measured, report, title=manifest.name, blocks=blocks, limits=settings.images)
        measured["report"] = str(path)
    emit(measured, as_json, _describe)


def _say(line: str) -> None:
    report(line)


def _warn(measured: dict[str, Any]) -> None:
    share = measured["trained_on_share"]
    if share:
        _say(
            f"warning: classifier {measured['classifiers'][0]} was trained on {share:.1%} of these pictures, so all "
            "metrics but candidate recall are too good; evaluate with --folds"
        )


def _describe(measured: dict[str, Any]) -> str:
    shown = {name: value for name, value in measured.items() if name not in _NOT_SHOWN}
    lines = [f"{name:>28}  {_text(value)}" for name, value in shown.items()]
    if measured["turned"]:
        lines.append(f"{'turned':>28}  {_row(measured['turned'])}")
    for table in _TABLES:
        if measured[table]:
            lines += ["", f"{table:>28}", *(f"{name:>28}  {_row(row)}" for name, row in measured[table].items())]
    lines += ["", f"{_BY_SIZE:>28}", *map(_size, measured[_BY_SIZE])]
    if measured["parts"]:
        lines += ["", f"{'parts':>28}"]
        kept = ("images", "pairs_true", "precision", "recall", "f1", "pair_recall_at_p99", "mixed_clusters")
        lines += [
            f"{number:>28}  {_row({name: part[name] for name in kept})}"
            for number, part in enumerate(measured["parts"], 1)
        ]
    return "\n".join(lines)


def _size(row: dict[str, Any]) -> str:
    label = f"{row['images']:,}" + (" (extrapolated)" if row["extrapolated"] else "")
    return f"{label:>28}  {_row({name: row[name] for name in row if name not in ('images', 'extrapolated')})}"


def _row(row: dict[str, Any]) -> str:
    """The values of a row; one with an interval is followed by it."""
    ends = ("_low", "_high")
    return ", ".join(
        f"{name} {_text(value)}"
        + (f" ({' – '.join(_text(row[name + end]) for end in ends)})" if name + ends[0] in row else "")
        for name, value in row.items()
        if not name.endswith(ends)
    )


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    if not isinstance(value, float):
        return str(value)
    # Four digits would round a threshold close to 1 to 1.
    return f"{value:.8f}" if 0.9999 < value < 1 else f"{value:.4f}"
