"""`neardup evaluate`: how well it works on labelled pictures."""

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
    from neardup_platform.images.embedders import load_embedders
    from neardup_platform.pipeline import Matching, Pipeline
    from neardup_platform.quality.evaluation import evaluate as run_evaluation
    from neardup_platform.quality.evaluation import read_manifest
    from neardup_platform.scoring.keras_classifier import load_classifier
    from neardup_platform.terms.hyperplanes import load_term_space

    settings = Settings()
    rows = read_manifest(manifest)
    load_tensorflow()
    space, scorer = load_term_space(settings.terms.space), load_classifier(settings.scoring.model)
    corpus = Corpus(space.dim, scorer.expects[Kind.PAIR].dim, space.tables, space.bits)
    pipeline = Pipeline(space, scorer, corpus, Matching.of(settings, scorer))
    with progress_bar("evaluating", len(rows)) as progress:
        figures = run_evaluation(rows, load_embedders(settings.images), pipeline, settings.images, progress)
    emit(figures, as_json, _describe)


def _describe(figures: dict[str, Any]) -> str:
    shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in figures.items()}
    return "\n".join(f"{name:>24}  {value}" for name, value in shown.items())
