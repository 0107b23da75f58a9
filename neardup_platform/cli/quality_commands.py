"""`neardup evaluate` and `train`: how well it works on labelled pictures, and a classifier of one's own."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, load_tensorflow, progress_bar
from neardup_platform.records import Kind
from neardup_platform.settings import Settings


@click.command(epilog="Example:  neardup evaluate labelled/manifest.csv --json")
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def evaluate(manifest: Path, as_json: bool) -> None:
    """Run the whole pipeline over labelled pictures and measure it.

    MANIFEST is a CSV with the columns file (relative to it) and group: the same non-empty group marks
    near-duplicates of one another, an empty one a distractor. Needs no servers.
    """
    from neardup_platform.corpus import Corpus
    from neardup_platform.images.embedders import load_embedders, model_specs
    from neardup_platform.pipeline import Matching, Pipeline
    from neardup_platform.quality.evaluation import evaluate as run_evaluation
    from neardup_platform.quality.evaluation import read_manifest
    from neardup_platform.scoring.keras_classifier import load_classifier
    from neardup_platform.terms.hyperplanes import load_term_space

    settings = Settings()
    rows = read_manifest(manifest)
    load_tensorflow()
    space, scorer = load_term_space(settings.terms.space), load_classifier(settings.scoring.model)
    embedders = load_embedders(settings.images)
    scorer.card.check_embedders(model_specs(embedders))
    corpus = Corpus(space.dim, scorer.expects[Kind.PAIR].dim, space.tables, space.bits)
    pipeline = Pipeline(space, scorer, corpus, Matching.of(settings, scorer))
    with progress_bar("evaluating", len(rows)) as progress:
        figures = run_evaluation(rows, embedders, pipeline, settings.images, progress)
    emit(figures, as_json, _describe)


@click.command(epilog="Example:  neardup train labelled/manifest.csv --out classifier/")
@click.argument("labelled", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--diverse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the column file: pictures no two of which are alike, to make altered copies of.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write.")
@json_option
def train(labelled: Path, diverse: Path | None, out: Path, as_json: bool) -> None:
    """Train and calibrate a pair classifier for the embedders in force.

    LABELLED is a CSV with the columns file and group, as for `evaluate`. Set scoring.model to the folder to use it.
    The figures printed were measured on groups held out of training.
    """
    from neardup_platform.quality.train_classifier import train_on_pictures

    load_tensorflow()
    card = train_on_pictures(labelled, diverse, out, Settings().images)
    figures = {name: value for name, value in card.metrics.items() if isinstance(value, float)}
    answer = {"version": card.version, "out": str(out), "threshold": card.threshold, **figures}
    emit(answer, as_json, _describe)


def _describe(figures: dict[str, Any]) -> str:
    shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in figures.items()}
    return "\n".join(f"{name:>24}  {value}" for name, value in shown.items())
