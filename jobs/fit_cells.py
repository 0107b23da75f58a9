"""The job that fits cells of the term index to the store and has the worker use them."""

import dagster as dg

from assets.search_cells import search_cells

fit_cells = dg.define_asset_job(
    "fit_cells",
    dg.AssetSelection.assets(search_cells),
    description="Fits up to some 8,000 cells to a sample of the store and has the worker exchange its cells for them "
    "while it decides. `used` in the metadata of the run names the command that goes back.",
)
