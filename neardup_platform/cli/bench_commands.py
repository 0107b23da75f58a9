"""`neardup bench NAME`: each prints one JSON object with the machine, the settings and the rows measured."""

import json
from typing import Any

import click

from neardup_platform.cli.output import json_option
from neardup_platform.settings import TermSettings


@click.group()
def bench() -> None:
    """Measure, on servers and stores of the benchmark's own."""


@bench.command(epilog="Example:  neardup bench stream --rate 200 --seconds 60 --json")
@click.option("--rate", "rate_per_s", type=click.FloatRange(1), default=200, show_default=True, help="Images/s.")
@click.option("--seconds", type=click.FloatRange(5), default=60, show_default=True, help="Length of the stream.")
@click.option("--corpus", type=click.IntRange(0), default=0, show_default=True, help="Images stored before.")
@click.option(
    "--candidates",
    type=click.IntRange(1, 10_000),
    default=TermSettings().max_candidates,
    show_default=True,
    help="Candidates scored per image, at most.",
)
@click.option(
    "--backlog",
    type=click.IntRange(100),
    default=20_000,
    show_default=True,
    help="Images drained at full speed.",
)
@json_option
def stream(rate_per_s: float, seconds: float, corpus: int, candidates: int, backlog: int, as_json: bool) -> None:
    """Latency from produce to readable at a fixed rate, and the rate that can be sustained."""
    from neardup_platform.bench.stream import Load, bench_stream

    answer = bench_stream(
        Load(rate_per_s, seconds, corpus, candidates, backlog), lambda line: click.echo(line, err=True)
    )
    click.echo(json.dumps(answer) if as_json else _table(answer["rows"]))


def _table(rows: list[dict[str, Any]]) -> str:
    return "\n".join("  ".join(f"{name}={value}" for name, value in row.items()) for row in rows)
