"""`neardup clusters`: the largest clusters, or those that changed last. It goes through the HTTP API."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from neardup_platform.cli.moments import Moment
from neardup_platform.cli.output import api_client, emit, json_option
from neardup_platform.client.calls import ClusterFilters
from neardup_platform.counted import counted
from neardup_platform.settings import Settings

_SIZE = click.IntRange(2)


@click.command(epilog="Example:  neardup clusters --min-size 100 --since 1d")
@click.option(
    "--sort",
    type=click.Choice(["size", "recent", "oldest"]),
    default="size",
    show_default=True,
    help="size: the largest first; recent: those that changed last first; oldest: the other way round.",
)
@click.option("--min-size", type=_SIZE, default=2, show_default=True, help="Least number of images.")
@click.option("--max-size", type=_SIZE, help="Greatest number of images.")
@click.option(
    "--since", "changed_since", type=Moment(), help="That changed since a time, such as 2026-01-31T12:00 or 2h."
)
@click.option("--bank", help="Only clusters with a label of this bank.")
@click.option("--quarantined/--not-quarantined", default=None, help="Only clusters in quarantine, or none of them.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Clusters per page.")
@click.option("--cursor", help="`next_cursor` of the previous page; the other options as for that page.")
@json_option
def clusters(limit: int, cursor: str | None, as_json: bool, **chosen: Any) -> None:
    """List clusters of two or more images: the largest, or those that changed last."""
    filters = ClusterFilters(**{name: value for name, value in chosen.items() if value is not None})  # type: ignore[typeddict-item]
    with api_client(Settings()) as api:
        emit(asdict(api.clusters_page(limit, cursor, **filters)), as_json, _describe)


def _describe(answer: dict[str, Any]) -> str:
    lines = [
        f"  {counted(cluster['size'], 'image'):>16}  changed {_when(cluster['updated_ms'])}  {cluster['head']}"
        for cluster in answer["clusters"]
    ]
    if answer["next_cursor"]:
        lines.append(f"  more: --cursor {answer['next_cursor']}")
    return "\n".join(lines) or "no cluster has two or more images and passes these filters"


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
