"""`neardup bench NAME`: each prints one JSON object with the machine, the settings and the measured rows."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, load_tensorflow, report
from neardup_platform.settings import Settings, TermSettings

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def bench() -> None:
    """Run benchmarks on servers and stores of their own."""


@bench.command(epilog="Example:  neardup bench stream --rate 200 --seconds 60 --json")
@click.option("--rate", "rate_per_s", type=click.FloatRange(1), default=200, show_default=True, help="Images/s.")
@click.option("--seconds", type=click.FloatRange(5), default=60, show_default=True, help="Length of the stream.")
@click.option("--corpus", type=click.IntRange(0), default=0, show_default=True, help="Images stored beforehand.")
@click.option(
    "--candidates",
    type=click.IntRange(1, 10_000),
    default=TermSettings().max_candidates,
    show_default=True,
    help="Most candidates scored per image.",
)
@click.option(
    "--backlog",
    type=click.IntRange(100),
    default=20_000,
    show_default=True,
    help="Images processed at full speed.",
)
@json_option
def stream(rate_per_s: float, seconds: float, corpus: int, candidates: int, backlog: int, as_json: bool) -> None:
    """Measure latency from produce to readable at a fixed rate, and the sustainable rate."""
    from neardup_platform.bench.stream import Load, bench_stream

    answer = bench_stream(Load(rate_per_s, seconds, corpus, candidates, backlog), report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench operations --images 1000000 --json")
@click.option("--images", type=click.IntRange(1_000), default=100_000, show_default=True, help="Images stored before.")
@click.option("--chosen", type=click.IntRange(100), help="Of them, decided again.  [default: a fifth]")
@click.option(
    "--searched", type=click.IntRange(100), help="Decided again by another classifier.  [default: a fiftieth]"
)
@click.option("--forgotten", type=click.IntRange(1), help="Of them, forgotten.  [default: a hundredth]")
@click.option("--rate", "rate_per_s", type=click.FloatRange(1), default=200, show_default=True, help="Images/s.")
@click.option("--seconds", type=click.FloatRange(5), default=30, show_default=True, help="Of stream beside each.")
@json_option
def operations(
    images: int,
    chosen: int | None,
    searched: int | None,
    forgotten: int | None,
    rate_per_s: float,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure snapshots, reprocessing of chosen images, its undo, forgetting and a rollback, beside a live stream."""
    from neardup_platform.bench.operations import Work, bench_operations

    chosen, searched = chosen or max(100, images // 5), searched or max(100, images // 50)
    if chosen + searched > images:
        raise click.UsageError("--chosen and --searched are parts of --images, and do not overlap")
    forgotten = min(forgotten or images // 100, images // 2)
    answer = bench_operations(Work(images, chosen, forgotten, searched, rate_per_s, seconds), report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench api --images 1000000 --rate 200 --json")
@click.option("--images", type=click.IntRange(1_000), default=20_000, show_default=True, help="Images stored before.")
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    multiple=True,
    default=(1, 8),
    show_default=True,
    help="Requests in flight; may be repeated.",
)
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=2, show_default=True, help="Of each row.")
@click.option(
    "--rate", "rate_per_s", type=click.FloatRange(0), default=0, show_default=True, help="Live images/s beside."
)
@json_option
def api(images: int, connections: tuple[int, ...], seconds: float, rate_per_s: float, as_json: bool) -> None:
    """Measure requests per second and latency of each call that consumers make, over HTTP."""
    from neardup_platform.bench.api import Work, bench_api

    answer = bench_api(Work(images, connections, seconds, rate_per_s), report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench bootstrap --images 1000000 --json")
@click.option("--images", type=click.IntRange(1_000), default=100_000, show_default=True, help="With given heads.")
@click.option(
    "--undecided", type=click.IntRange(0), default=0, show_default=True, help="Without, in a data set of their own."
)
@click.option("--rate", "rate_per_s", type=click.FloatRange(1), default=100, show_default=True, help="Images/s.")
@click.option("--seconds", type=click.FloatRange(5), default=120, show_default=True, help="Of stream beside each load.")
@json_option
def bootstrap(images: int, undecided: int, rate_per_s: float, seconds: float, as_json: bool) -> None:
    """Measure how fast a data set on S3 is loaded and served, beside a live stream.

    An image takes about 6 kB of disk, 2 kB of it on S3, where it is uploaded first; one without a head takes 13 kB.
    """
    from neardup_platform.bench.bootstrap import Work, bench_bootstrap

    answer = bench_bootstrap(Work(images, undecided, rate_per_s, seconds), report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench logs --images 720000 --json")
@click.option(
    "--images",
    type=click.IntRange(1_000),
    default=72_000,
    show_default=True,
    help="In an hour: 720000 are 200 a second.",
)
@click.option("--hours", type=click.IntRange(1, 24), default=1, show_default=True, help="Hours, one after another.")
@click.option(
    "--rate", "rate_per_s", type=click.FloatRange(0), default=0, show_default=True, help="Live images/s beside."
)
@json_option
def logs(images: int, hours: int, rate_per_s: float, as_json: bool) -> None:
    """Measure how long the logs of an hour and its quality take, from a Kafka that is filled beforehand."""
    from neardup_platform.bench.logs import bench_logs

    answer = bench_logs(images, hours, rate_per_s, report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench backfill --hours 24 --images 720000 --rate 200 --json")
@click.option(
    "--images", type=click.IntRange(1), default=1_000, show_default=True, help="In an hour: 720000 are 200 a second."
)
@click.option("--hours", type=click.IntRange(1, 24), default=24, show_default=True, help="Hours of the backfill.")
@click.option(
    "--rate", "rate_per_s", type=click.FloatRange(0), default=0, show_default=True, help="Live images/s beside."
)
@json_option
def backfill(images: int, hours: int, rate_per_s: float, as_json: bool) -> None:
    """Measure a backfill of logs and their quality by Dagster, from its launch until every hour is materialised."""
    from neardup_platform.bench.backfill import bench_backfill

    answer = bench_backfill(images, hours, rate_per_s, report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench search --docs 1000000 --plot frontier.png --json")
@click.option("--docs", type=click.IntRange(1_000), default=1_000_000, show_default=True, help="Images searched.")
@click.option(
    "--peer-docs",
    type=click.IntRange(1_000),
    default=1_000_000,
    show_default=True,
    help="Most images searched by engines that take long to build; ours is measured there, too.",
)
@click.option(
    "--manifest",
    type=_FILE,
    help="CSV with the columns file and group: the pictures to plant. Default: ../shared/data/evaluate.csv, or "
    "samples/pictures with altered copies of them.",
)
@click.option(
    "--k",
    type=click.IntRange(100, 10_000),
    help="Hits within which a near-duplicate counts as found.  [default: terms.max_candidates, at least 100]",
)
@click.option(
    "--plot",
    type=_FILE,
    help="PNG file to draw: recall against queries per second.",
)
@json_option
def search(docs: int, peer_docs: int, manifest: Path | None, k: int | None, plot: Path | None, as_json: bool) -> None:
    """Measure recall, speed and size of candidate search next to its peers.

    Real pictures are planted in a corpus of synthetic ones. Recall is the share of their near-duplicates, as found by
    exhaustive cosine search, that an engine finds. Needs no servers.
    """
    load_tensorflow()
    from neardup_platform.bench.matplotlib_frontier import draw_frontier
    from neardup_platform.bench.search import Task, bench_search

    settings = Settings()
    task = Task(docs, min(docs, peer_docs), k or max(100, settings.terms.max_candidates), manifest)
    answer = bench_search(task, settings, report)
    if plot:
        draw_frontier(answer["rows"], plot)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench score --rows 200000 --json")
@click.option(
    "--rows", type=click.IntRange(1_000), default=200_000, show_default=True, help="Images whose vectors are mapped."
)
@click.option(
    "--rounds", type=click.IntRange(3), default=15, show_default=True, help="Rounds in which every engine runs once."
)
@json_option
def score(rows: int, rounds: int, as_json: bool) -> None:
    """Measure pairs scored per second by batch size and threads, next to onnxruntime and NumPy.

    From float16 vectors in a mapped file to probabilities, as in the worker. Needs no servers.
    """
    load_tensorflow()
    from neardup_platform.bench.score import bench_score

    answer = bench_score(rows, rounds, Settings(), report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench gpu --docs 10000000 --json")
@click.option(
    "--docs",
    type=click.IntRange(10_000, 100_000_000),
    default=10_000_000,
    show_default=True,
    help="Images searched exhaustively on a GPU: 512 bytes each there and 1,024 in memory. At most 1,000,000 on a CPU.",
)
@click.option(
    "--rows",
    type=click.IntRange(1_000, 10_000_000),
    default=200_000,
    show_default=True,
    help="Images whose vectors are scored, 1,834 bytes each on the device.",
)
@json_option
def gpu(docs: int, rows: int, as_json: bool) -> None:
    """Measure exhaustive search and pair scoring on a GPU, or on the CPU if there is none, and the worker end to end.

    faiss scans 256 bits and 256 dimensions; the classifier scores pairs with all vectors in the memory of the device,
    and as the worker does; images are searched, scored, decided and committed as by the worker. Each row names its
    device. Needs no servers.
    """
    load_tensorflow()
    from neardup_platform.bench.gpu import bench_gpu

    answer = bench_gpu(docs, rows, Settings(), report)
    emit(answer, as_json, lambda a: _table(a["rows"]))


@bench.command(epilog="Example:  neardup bench accuracy receipts.csv faces.csv --plot curves.png --json")
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=_FILE)
@click.option("--plot", type=_FILE, help="PNG file to draw: precision against recall, over all pictures.")
@json_option
def accuracy(manifests: tuple[Path, ...], plot: Path | None, as_json: bool) -> None:
    """Measure recall and wrong pairs on labelled pictures, next to the perceptual hashes PDQ and pHash.

    Each MANIFEST is a CSV with the columns file (relative to it), group (same non-empty value = near-duplicates; empty
    = resembles no other picture) and optionally subset. All are searched as one corpus. Ours is the whole pipeline with
    the active classifier; hashes are compared exhaustively. Needs no servers.
    """
    load_tensorflow()
    from neardup_platform.bench.accuracy import bench_accuracy
    from neardup_platform.bench.matplotlib_curves import draw_curves

    found = bench_accuracy(manifests, Settings(), report)
    share = found.answer["settings"]["trained_on_share"]
    if share:
        report(f"warning: our classifier was trained on {share:.1%} of these pictures, so its rows are too good")
    if plot:
        draw_curves(found.measured, plot)
    emit(found.answer, as_json, lambda a: _columns(a["rows"]))


def _columns(rows: list[dict[str, Any]]) -> str:
    """Rows below the names of the first one's fields; a method that is missing says why below them."""
    names = list(rows[0])
    shown = [names, *([str(row.get(name, "")) for name in names] for row in rows if "missing" not in row)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in shown]
    return "\n".join(lines + [f"{row['method']}: {row['missing']}" for row in rows if "missing" in row])


def _table(rows: list[dict[str, Any]]) -> str:
    return "\n".join("  ".join(f"{name}={value}" for name, value in row.items()) for row in rows)
