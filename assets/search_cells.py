"""The asset `search_cells`: cells of the term index, fitted to the images of the store and exchanged by the worker.

Store → sample → **search_cells** → neardup.control → worker. Each version is a separate file, and the worker makes the
index with other cells while it decides. faiss is imported at materialisation: the code location loads without it.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from assets.stream_worker import stream_worker_asset
from resources.code_references import code_reference
from resources.platform import PlatformResource

LEAST_IMAGES = 16


class SearchCellsConfig(dg.Config):
    """How large a store has to be, and whether the worker uses the cells."""

    least_images: int = Field(100_000, ge=LEAST_IMAGES, description="Images of the index below which the run fails.")
    use: bool = Field(
        True, description="Ask the worker to exchange its cells for these; not if `terms.cells` pins others."
    )
    timeout_s: float = Field(
        21_600.0,
        ge=1,
        le=86_400,
        description="How long to wait for the worker's answer. After that the run fails, and the command stays with "
        "the worker.",
    )


@dg.asset(
    pool="batch",
    group_name="terms",
    kinds={"faiss", "numpy", "kafka"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    deps=[stream_worker_asset],
    description="Up to some 8,000 cells, fitted to a sample of the store and written to "
    "`NEARDUP_HOME/cells/<version>.npz`: a search finds more in a third of the images that it scans otherwise. The "
    "worker makes its index with them while it decides, and exchanges it. The sensor `cells_sensor` requests a run "
    "when the store has grown.",
)
def search_cells(
    context: dg.AssetExecutionContext, config: SearchCellsConfig, platform: PlatformResource
) -> dg.MaterializeResult[None]:
    """Fit, write, send the command and wait."""
    from neardup_platform.operations.fitted_cells import fit_store_cells

    settings = platform.local_settings()
    fitted = fit_store_cells(settings, config.least_images, context.log.info)
    metadata: dict[str, Any] = {
        "path": dg.MetadataValue.path(fitted.path),
        "version": dg.MetadataValue.text(fitted.version),
        "cells": dg.MetadataValue.int(fitted.cells),
        "sample": dg.MetadataValue.int(fitted.images),
    }
    if settings.terms.cells is not None:
        metadata["used"] = dg.MetadataValue.text(f"no: terms.cells names {settings.terms.cells}")
    elif config.use:
        metadata["used"] = dg.MetadataValue.text(_exchange(context, platform, fitted.version, config.timeout_s))
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(fitted.version))


def _exchange(context: dg.AssetExecutionContext, platform: PlatformResource, version: str, timeout_s: float) -> str:
    """Have the worker exchange its cells; returns its answer in words."""
    from neardup_platform.operations.fitted_cells import exchange_in_words
    from neardup_platform.operations.kafka_carry_out import Issuer, carry_out
    from neardup_platform.wire.command_arguments import UseCellsArguments

    root = context.run.root_run_id or context.run.run_id
    issuer = Issuer(f"Dagster run {root}", f"dagster-{root}-{version}")
    answer = carry_out(platform.settings(), UseCellsArguments(cells=version), issuer, timeout_s, context.log.info)
    if not answer.accepted:
        raise dg.Failure(
            f"the worker refused cells {version}: {answer.reason}; to send it again: neardup cells use {version}",
            allow_retries=answer.temporary,
        )
    return exchange_in_words(answer.flat())
