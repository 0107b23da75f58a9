"""`neardup train`, `adapt` and `tune`: make your own classifier and term space."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.classifier_commands import publish_folder
from neardup_platform.cli.output import emit, json_option, load_tensorflow, report
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings


@click.command(epilog="Example:  neardup train labelled/manifest.csv --out classifier/")
@click.argument("labelled", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--diverse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the column file: pictures that all differ, to make altered copies of them.",
)
@click.option(
    "--also",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="More labelled pictures, a CSV like LABELLED; the same group in both is one group. May be repeated.",
)
@click.option(
    "--kinds",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Pictures that teach match kinds only, such as other texts on one template; a CSV like LABELLED. May be "
    "repeated.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write.")
@click.option("--publish", is_flag=True, help="Also publish it to the registry, as `neardup classifier publish` does.")
@json_option
def train(
    labelled: Path,
    diverse: Path | None,
    also: tuple[Path, ...],
    kinds: tuple[Path, ...],
    out: Path,
    publish: bool,
    as_json: bool,
) -> None:
    """Train and calibrate a pair classifier for the active embedders.

    LABELLED is a CSV with the columns file and group, as for `evaluate`. To use it, set scoring.model to the folder,
    or publish and promote it (`neardup classifier promote`) while the stream runs.
    The printed metrics are measured on groups held out of training.

    Match kinds are learned from the optional columns transformation (how a copy was made: resize, crop, border…),
    template and scene: pictures of one template or scene, and of different groups, are of one kind and not copies.
    """
    from neardup_platform.learning.classifier.train_classifier import train_on_pictures

    load_tensorflow()
    card = train_on_pictures(labelled, diverse, out, Settings().images, also=also, kinds=kinds)
    metrics = {name: value for name, value in card.metrics.items() if isinstance(value, float)}
    known = card.metrics.get("kinds", {})
    answer = {"version": card.version, "out": str(out), "threshold": card.threshold, **metrics, "kinds": known}
    if publish:
        answer["uri"] = publish_folder(out, resolve(Settings()))["uri"]
    emit(answer, as_json, _describe)


@click.command(epilog="Example:  neardup adapt tickets.csv --out adapted/")
@click.argument("pictures", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--from",
    "base",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the classifier to begin with.  [default: scoring.model, else the shipped one]",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write.")
@click.option("--publish", is_flag=True, help="Also publish it to the registry, as `neardup classifier publish` does.")
@json_option
def adapt(pictures: Path, base: Path | None, out: Path, publish: bool, as_json: bool) -> None:
    """Adapt a classifier to a kind of pictures that it takes for copies of one another.

    PICTURES is a CSV with the column file, at least 20 pictures of the kind, none a copy of another. With a column
    group, as for `train`, they are labelled: copies share a group, and 20 pairs of copies and 20 of look-alikes, better
    200 together, also teach it to tell them apart. Minutes, not hours: the network is not trained again.
    """
    from neardup_platform.learning.classifier.train_classifier import adapt_to_pictures
    from neardup_platform.scoring.card import SHIPPED_FOLDER

    load_tensorflow()
    settings = Settings()
    found = adapt_to_pictures(pictures, base or settings.scoring.model or SHIPPED_FOLDER, out, settings.images)
    lesson = found.lesson
    answer: dict[str, Any] = {
        "version": found.card.version,
        "out": str(out),
        "added": found.added,
        "pairs": lesson.pairs,
        "pairs_true": lesson.pairs_true,
        "before": lesson.before and lesson.before._asdict(),
        "after": lesson.after and lesson.after._asdict(),
    }
    if publish:
        answer["uri"] = publish_folder(out, resolve(settings))["uri"]
    emit(answer, as_json, _describe_adaptation)


@click.command(epilog="Example:  neardup tune labelled/manifest.csv --recall 0.99 --out space.npz")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.99,
    show_default=True,
    help="Share to find of the near-duplicates that exhaustive cosine search ranks among its first 100.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=10_000_000,
    show_default=True,
    help="Size of the corpus to tune for; extrapolated beyond the given pictures.",
)
@click.option(
    "--diverse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the column file: pictures without duplicates, to fit to and to search among. Default: those of "
    "MANIFEST without a group. All 1,024 cells need 8,192 or more.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write, .npz.")
@json_option
def tune(manifest: Path, recall: float, images: int, diverse: Path | None, out: Path, as_json: bool) -> None:
    """Choose tables and bits of the term space by measurement: the cheapest that reaches a recall.

    MANIFEST is a CSV with the columns file and group, as for `evaluate`; if no picture has a group, altered copies are
    made and searched for. Up to terms.max_candidates candidates are used. Needs no servers.
    """
    if out.suffix != ".npz":
        raise click.BadParameter(f"{out} does not end in .npz", param_hint="--out")
    from neardup_platform.learning.terms.tune_terms import Target, tune_on_pictures, write_space

    settings = Settings()
    load_tensorflow()
    target = Target(recall, images, settings.terms.max_candidates)
    tuned = tune_on_pictures(manifest, diverse, settings.images, target, report)
    write_space(tuned.space, out)
    emit({**tuned.as_json(), "out": str(out)}, as_json, _describe_tuning)


def _describe_tuning(answer: dict[str, Any]) -> str:
    chosen, ks = answer["chosen"], [within["k"] for within in answer["chosen"]["within"]]
    head = f"  {'terms':>7}  {'bytes':>5}  {'>= 1 equal':>10}  {'postings':>8}  {'expected':>8}"
    lines = [head + "".join(f"  {f'K={k:,}':>7}" for k in ks) + f"  {'predicted':>9}  {'by terms':>8}  in sample"]
    place = ks.index(answer["candidates"]["k"])
    for row in answer["rows"]:
        at = row["within"][place]
        predicted = "" if at["predicted_recall"] is None else f"{at['predicted_recall']:.4f}"
        lines.append(
            f"{'>' if row == chosen else ' '} {row['tables']:>4}x{row['bits']:<2}  {row['bytes_per_image']:>5}"
            f"  {row['sharing_a_term']:>10.4f}  {row['postings']:>8.3f}  {row['postings_expected']:>8.3f}"
            + "".join(f"  {within['recall']:>7.4f}" for within in row["within"])
            + f"  {predicted:>9}  {at['overlap_recall']:>8.4f}  {at['sample_recall']:>9.4f}"
        )
    return "\n".join([*lines, "", *_next_steps(answer)])


def _next_steps(answer: dict[str, Any]) -> tuple[str, str, str]:
    chosen, at, out = answer["chosen"], answer["candidates"], answer["out"]
    judged = (
        f"Recall among {answer['images']:,} images, of the {answer['pairs_within']:,} pairs out of {answer['pairs']:,} "
        f"that exhaustive search finds there; the last three columns are for K={at['k']:,}."
    )
    written = (
        f"Chosen: {chosen['tables']}x{chosen['bits']}, {chosen['bytes_per_image']} bytes per image, recall "
        f"{at['recall']:.4f} within K={at['k']:,}. {answer['version']} with {answer['cells']:,} cells is in {out}."
    )
    next_step = (
        f'Next: set terms.space = "{out}" and terms.max_candidates = {at["k"]}; a new term space needs a new '
        "NEARDUP_HOME or a rebuilt index."
    )
    return judged, written, next_step


def _describe(metrics: dict[str, Any]) -> str:
    shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in metrics.items() if k != "kinds"}
    lines = [f"{name:>24}  {value}" for name, value in shown.items()]
    return "\n".join(lines + [f"{kind:>24}  {_kind(row)}" for kind, row in metrics["kinds"].items()])


def _kind(row: dict[str, Any]) -> str:
    if row["precision"] is None:
        return f"never claimed: {row['pairs']} pairs do not tell it precisely enough"
    return f"precision {row['precision']:.4f}, recall {row['recall']:.4f} of {row['pairs']} pairs"


def _describe_adaptation(answer: dict[str, Any]) -> str:
    lines = [
        f"classifier {answer['version']} in {answer['out']}: {answer['added']} pictures added to its reference",
        f"labelled pairs looked at: {answer['pairs']}, {answer['pairs_true']} of them near-duplicates",
    ]
    if answer["after"] is None:
        lines.append("curves unchanged: 20 near-duplicates and 20 other pairs that it doubts would fit them again")
    else:
        rows = (("before", answer["before"]), ("after, held out", answer["after"]))
        lines += [f"{name:<16} {row['found']:.0%} found, {row['wrong']:.1%} of the others match" for name, row in rows]
    return "\n".join(lines)
