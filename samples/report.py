"""What the demo prints: the clusters found, compared with the copies made, and where to look next."""

import shlex
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from samples.comparison import Comparison, OriginalFound

# Originals with every copy found that are listed; the caption counts the others.
COMPLETE_SHOWN = 12


def _share(found: int, made: int) -> str:
    # Rounded down, so that 100% are all.
    return f"{found}/{made}" + (f"  {100 * found // made}%" if made else "")


def clusters_table(comparison: Comparison) -> Table:
    """The originals with their found copies: all incomplete ones, and the first complete ones."""
    incomplete = [row for row in comparison.originals if row.missed or row.head is None]
    complete = [row for row in comparison.originals if row not in incomplete]
    omitted = len(complete) - COMPLETE_SHOWN
    caption = f"and {omitted} more originals with every copy found" if omitted > 0 else None
    table = Table(title="Clusters found", caption=caption, title_justify="left", caption_justify="left")
    for column in ("original", "cluster head", "copies found/made", "missed"):
        table.add_column(column, overflow="fold")  # an id cut short could not be looked up
    for row in [*incomplete, *complete[:COMPLETE_SHOWN]]:
        table.add_row(
            escape(row.original_id),
            escape(row.head or "undecided"),
            f"{len(row.found)}/{row.made}",
            ", ".join(row.missed),
        )
    return table


def alterations_table(comparison: Comparison) -> Table:
    """Copies found and made, by alteration, best first."""
    table = Table(title="Found by alteration", title_justify="left")
    table.add_column("alteration")
    table.add_column("copies found/made")
    by_share = sorted(comparison.by_alteration.items(), key=lambda item: (-item[1][0] / item[1][1], item[0]))
    for name, (found, made) in by_share:
        table.add_row(name, _share(found, made))
    return table


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print both tables, the totals, each wrong merge, and undecided images."""
    console.print(clusters_table(comparison))
    console.print(alterations_table(comparison))
    console.print(
        f"{len(comparison.originals)} originals and {comparison.made} altered copies "
        f"are in {comparison.clusters} clusters."
    )
    console.print(f"Copies found with their original: {_share(comparison.found, comparison.made)}")
    console.print(f"Images merged with another picture: {len(comparison.wrong_merges)}")
    for wrong in comparison.wrong_merges:
        console.print(f"  {wrong.image_id} is with {wrong.owner_id} in cluster {wrong.head}", markup=False)
    if comparison.undecided:
        named = ", ".join(comparison.undecided[:5])
        console.print(f"Undecided: {len(comparison.undecided)} ({named} …)", markup=False, style="bold red")


def example(comparison: Comparison) -> OriginalFound | None:
    """The original to use in commands: the one with the most copies found, first by name."""
    return max(comparison.originals, key=lambda row: len(row.found), default=None)


def next_commands(comparison: Comparison, neardup: str) -> list[str]:
    """Three command lines with real ids, or none if no original was decided."""
    shown = example(comparison)
    if shown is None or shown.head is None:
        return []
    image_id = next((copy_id for copy_id in shown.found if copy_id != shown.head), shown.original_id)
    arguments = (("lookup", image_id), ("members", shown.head), ("explain", image_id))
    return [f"{neardup} {shlex.join(words)}" for words in arguments]


def print_where_next(console: Console, urls: Mapping[str, str], commands: list[str]) -> None:
    """Print the addresses to open and the commands to try."""
    console.print("\nOpen:")
    pages = {"explorer": urls["explorer"], "dagster": urls["dagster"], "api": f"{urls['api']}/docs"}
    for name, url in pages.items():
        console.print(f"  {name:<9} {url}", markup=False, soft_wrap=True)
    console.print("Try next:")
    for command in commands:
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
