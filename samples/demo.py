"""`make demo`: starts the platform, ingests pictures and altered copies of them, and prints the clusters found.

A second run makes the same files with the same ids, and reports how many the platform knows already.
Exit status 1 if the platform fails or an image remains undecided.
"""

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from neardup_platform import Client
from neardup_platform.errors import NeardupError
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from samples import neardup_cli
from samples.alterations import Copy, make_copies
from samples.comparison import Comparison, compare
from samples.heads import read_heads
from samples.report import next_commands, print_comparison, print_where_next

PICTURES = Path(__file__).parent / "pictures"
SEED = 2
COPIES_PER_PICTURE = 4
# Readers are less than a second behind the worker; this allows for a busy machine.
READER_TIMEOUT_S = 60.0
# The shell's convention: 128 plus the number of SIGINT.
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Feed:
    """The folder given to `neardup ingest`; image ids are file names in it."""

    folder: Path
    originals: tuple[str, ...]
    copies: tuple[Copy, ...]

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Ids of originals, then of copies."""
        return (*self.originals, *(copy.image_id for copy in self.copies))


def prepare_feed(pictures: Path, folder: Path, seed: int) -> Feed:
    """Replaces the content of `folder` by the originals and altered copies of them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    originals = tuple(path.name for path in sorted(pictures.glob("*.jpg")))
    for name in originals:
        shutil.copyfile(pictures / name, folder / name)
    return Feed(folder, originals, tuple(make_copies(pictures, folder, seed, COPIES_PER_PICTURE)))


def feed_and_compare(console: Console, feed: Feed) -> Comparison:
    """Ingest the feed into the running platform, read the clusters back, and print the comparison."""
    urls: dict[str, str] = neardup_cli.run_json("status")["urls"]
    with Client.from_settings(resolve(Settings())) as api:
        return _feed(console, feed, api, urls)


def _feed(console: Console, feed: Feed, api: Client, urls: dict[str, str]) -> Comparison:
    known = len(api.lookup_many(feed.image_ids))
    console.print(f"{len(feed.image_ids)} pictures in {feed.folder}, {known} of them already known.")
    ingested = neardup_cli.run_json("ingest", str(feed.folder), "--wait")
    refused = len(ingested["refused"])
    console.print(f"published {ingested['published']}, decided {ingested['decided']}, refused {refused}")
    heads = read_heads(api, feed.image_ids, READER_TIMEOUT_S)
    comparison = compare(feed.originals, feed.copies, heads)
    print_comparison(console, comparison)
    print_where_next(console, urls, next_commands(comparison, neardup_cli.shown_path()))
    return comparison


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_for_interrupt(console: Console) -> None:
    console.print("\nRunning until Ctrl-C.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Stopping.")


def _run(console: Console, detach: bool) -> int:
    was_ready = neardup_cli.is_ready()
    stop_at_end = not (detach or was_ready)
    try:
        if not was_ready:
            neardup_cli.run("up", "--detach")
        comparison = feed_and_compare(console, prepare_feed(PICTURES, Settings().home / "demo", SEED))
        if stop_at_end:
            _wait_for_interrupt(console)
        else:
            console.print("\nThe platform keeps running; `make down` stops it.")
        return 1 if comparison.undecided else 0
    finally:
        if stop_at_end:
            neardup_cli.run("down")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m samples.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--detach", action="store_true", help="return once ready; `make down` stops it")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(Console(), options.detach)
    except NeardupError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
