"""`neardup size`: what a corpus and a rate need."""

from typing import Any

import click

from neardup_platform.cli.output import emit, json_option
from neardup_platform.operations.sizing import needs
from neardup_platform.settings import Settings

_MOST_IMAGES = 10_000_000_000
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


@click.command(epilog="Example:  neardup size --images 10000000 --rate 200")
@click.option("--images", type=click.IntRange(1, _MOST_IMAGES), required=True, help="Images in the corpus.")
@click.option("--rate", type=click.FloatRange(0, 1_000_000), default=100.0, show_default=True, help="New images/s.")
@json_option
def size(images: int, rate: float, as_json: bool) -> None:
    """Say what a corpus needs: disk, memory, processor time and time to start.

    Each amount is measured, or said to be extrapolated from the largest corpus that was measured. Kafka's disk follows
    from `kafka.retention_h`. Needs no servers.
    """
    retention_h = Settings().kafka.retention_h
    rows = [
        {"what": need.what, "amount": need.amount, "unit": need.unit, "basis": need.basis}
        for need in needs(images, rate, retention_h)
    ]
    emit({"images": images, "rate": rate, "retention_h": retention_h, "needs": rows}, as_json, _in_words)


def _in_words(answer: dict[str, Any]) -> str:
    needed = answer["needs"]
    shown = [(row["what"], _amount(row["amount"], row["unit"]), row["basis"]) for row in needed]
    wide = [max(len(column) for column in columns) for columns in zip(*shown, strict=True)]
    lines = [f"{what:<{wide[0]}}  {amount:>{wide[1]}}  {basis}" for what, amount, basis in shown]
    return "\n".join([f"{answer['images']:,} images, {answer['rate']:g} new images/s", *lines])


def _amount(amount: float, unit: str) -> str:
    if unit != "bytes":
        return f"{amount:,.1f} {unit}"
    scale, name = next((pair for pair in _UNITS if amount >= pair[0]), _UNITS[-1])
    return f"{amount / scale:,.1f} {name}"
