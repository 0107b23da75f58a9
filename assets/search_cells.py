"""The asset `search_cells`: cells of the term index, fitted to the images of the store.

Each version is a separate file, so a worker that uses an older one is not affected. faiss is imported at
materialisation: the code location loads without it.
"""

import dagster as dg
from pydantic import Field

from resources.code_references import code_reference
from resources.platform import PlatformResource


class SearchCellsConfig(dg.Config):
    """How large a store has to be."""

    least_images: int = Field(100_000, ge=16, description="Images of the index below which the run fails.")


@dg.asset(
    pool="batch",
    group_name="terms",
    kinds={"faiss", "numpy"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    description="About 8,000 cells fitted to a sample of the store, written to `NEARDUP_HOME/cells/<version>.npz`: a "
    "search finds as much in a sixth of the images that it scans otherwise. Worth it from some 100,000 images on, and "
    "again when the store has grown tenfold. Set `terms.cells` to that file for the worker and the API and restart "
    "both: the worker sorts its index by them first.",
)
def search_cells(
    context: dg.AssetExecutionContext, config: SearchCellsConfig, platform: PlatformResource
) -> dg.MaterializeResult[None]:
    """Sample, fit and write."""
    from neardup_platform.learning.terms.store_cells import MOST_SAMPLED, write_fitted_cells
    from neardup_platform.stream.sample_vectors import sample_vectors
    from neardup_platform.terms.hyperplanes import load_term_space

    settings = platform.local_settings()
    space = load_term_space(settings.terms.space)
    unit = sample_vectors(settings, space, MOST_SAMPLED, context.log.info)
    context.log.info(f"fitting cells to {len(unit):,} images")
    cells, path = write_fitted_cells(space, unit, settings.home / "cells", config.least_images)
    metadata = {
        "path": dg.MetadataValue.path(path),
        "version": dg.MetadataValue.text(cells.version),
        "cells": dg.MetadataValue.int(len(cells)),
        "sample": dg.MetadataValue.int(len(unit)),
    }
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(cells.version))
