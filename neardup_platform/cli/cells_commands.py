"""`neardup cells`: fit the cells of the term index to the store, and exchange them while the stream runs."""

from dataclasses import asdict

import click

from neardup_platform.cli.output import emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, wait_option
from neardup_platform.operations.fitted_cells import cells_status, exchange_in_words, fit_store_cells, status_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import UseCellsArguments

# Below this a corpus is searched whole in any case.
LEAST_IMAGES = 100_000

_timeout_option = click.option(
    "--timeout", "timeout_s", type=float, default=86_400.0, show_default=True, help="Seconds to wait with --wait."
)


@click.group()
def cells() -> None:
    """Fit the cells that a search scans to the images of the store, and exchange them while the stream runs."""


@cells.command(epilog="Example:  neardup cells status --json")
@json_option
def status(as_json: bool) -> None:
    """Show which cells are active, since which decision, and when others are fitted."""
    emit(cells_status(Settings()).flat(), as_json, status_in_words)


@cells.command(epilog="Example:  neardup cells fit")
@click.option(
    "--least-images",
    type=click.IntRange(min=16),
    default=LEAST_IMAGES,
    show_default=True,
    help="Refuse a smaller store.",
)
@click.option("--use/--no-use", default=True, show_default=True, help="Exchange the active cells for them.")
@wait_option
@_timeout_option
@json_option
def fit(least_images: int, use: bool, wait: bool, timeout_s: float, as_json: bool) -> int:
    """Fit about 8,000 cells to a sample of the store; the worker continues."""
    fitted = fit_store_cells(Settings(), least_images, report)
    if use:
        return _use(fitted.version, timeout_s if wait else None, as_json)
    answer = {**asdict(fitted), "path": str(fitted.path)}
    emit(answer, as_json, lambda told: f"cells {told['version']} are in {told['path']}")
    return 0


@cells.command(epilog="Example:  neardup cells use term-space")
@click.argument("version")
@wait_option
@_timeout_option
@json_option
def use(version: str, wait: bool, timeout_s: float, as_json: bool) -> int:
    """Exchange the active cells for a version that was fitted before, or for `term-space`."""
    return _use(version, timeout_s if wait else None, as_json)


def _use(version: str, timeout_s: float | None, as_json: bool) -> int:
    arguments = UseCellsArguments.parse({"cells": version})
    return send_to_worker(resolve(Settings()), arguments, as_json, exchange_in_words, timeout_s)
