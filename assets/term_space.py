"""The asset `term_space`: tables and bits chosen by measurement for a required recall, like `neardup tune`.

Each version is a separate file, so a worker that uses an older one is not affected. TensorFlow, faiss and matplotlib
are imported at materialisation: the code location loads without them.
"""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from neardup_platform.errors import SetupError
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.learning.terms.tune_terms import Tuned


class TermSpaceConfig(dg.Config):
    """Which pictures to measure with, and the target."""

    manifest: str = Field(description="CSV with the columns file and group, as for `neardup evaluate`.")
    diverse: str | None = Field(None, description="CSV with the column file: pictures like nothing else, to fit to.")
    recall: float = Field(0.99, gt=0, le=1, description="Share of the results of an exhaustive cosine search.")
    images: int = Field(10_000_000, ge=1, description="Size of the corpus that the recall applies to.")


@dg.asset(
    pool="batch",
    group_name="terms",
    kinds={"tensorflow", "numpy"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    description="The cheapest term space, among a grid of tables × bits, that reaches a recall on labelled pictures, "
    "written to `NEARDUP_HOME/term-spaces/<version>.npz`. Set `terms.space` to that file to use it; a new term space "
    "needs a new NEARDUP_HOME or a rebuilt index.",
)
def term_space(
    context: dg.AssetExecutionContext, config: TermSpaceConfig, platform: PlatformResource
) -> dg.MaterializeResult[None]:
    """Measure, choose and write."""
    from neardup_platform.learning.terms.tune_terms import Target, tune_on_pictures, write_space

    settings = platform.local_settings()
    target = Target(config.recall, config.images, settings.terms.max_candidates)
    diverse = Path(config.diverse) if config.diverse else None
    tuned = tune_on_pictures(Path(config.manifest), diverse, settings.images, target, context.log.info)
    path = settings.home / "term-spaces" / f"{tuned.space.version}.npz"
    write_space(tuned.space, path)
    return dg.MaterializeResult(metadata=metadata(tuned, path), data_version=dg.DataVersion(tuned.space.version))


def metadata(tuned: "Tuned", path: Path) -> dict[str, Any]:
    """Dagster metadata and plots of a tuning."""
    chosen = tuned.chosen
    return {
        "path": dg.MetadataValue.path(path),
        "version": dg.MetadataValue.text(tuned.space.version),
        "tables": dg.MetadataValue.int(chosen.tables),
        "bits": dg.MetadataValue.int(chosen.bits),
        "cells": dg.MetadataValue.int(tuned.space.cells),
        "bytes_per_image": dg.MetadataValue.int(chosen.bytes_per_image),
        "candidates": dg.MetadataValue.int(tuned.candidates.k),
        "recall": dg.MetadataValue.float(tuned.candidates.recall),
        "pairs": dg.MetadataValue.int(tuned.pairs),
        "pairs_within": dg.MetadataValue.int(tuned.pairs_within),
        "grid": dg.MetadataValue.table(_grid(tuned)),
        "recall_against_bytes": dg.MetadataValue.md(_plot(tuned)),
    }


def _grid(tuned: "Tuned") -> list[dg.TableRecord]:
    return [
        dg.TableRecord(
            {
                "terms": f"{row.tables}×{row.bits}",
                "bytes": row.bytes_per_image,
                "sharing a term": row.sharing_a_term,
                "postings": row.postings,
                **{f"recall within {within.k}": within.recall for within in row.within},
            }
        )
        for row in tuned.rows
    ]


def _plot(tuned: "Tuned") -> str:
    from neardup_platform.learning.terms.matplotlib_tuning import draw_tuning

    try:
        content = base64.b64encode(draw_tuning(tuned)).decode()
    except SetupError as error:
        return f"no plot: {error}"
    return f"![recall against bytes per image](data:image/png;base64,{content})"
