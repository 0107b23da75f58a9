"""What the commands share: the `--json` option, printing, progress, and the client of the HTTP API."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neardup_platform.client import Client
from neardup_platform.client.exchange import ATTEMPTS
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.terminal_text import json_text, one_line, visible, visible_values

# Added to what the API says about a missing or unknown token.
TOKEN_HINT = "(set NEARDUP_API_CLIENT_TOKEN, which commands send)"  # noqa: S105 -- names the setting

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def emit(answer: dict[str, Any], as_json: bool, human: Callable[[dict[str, Any]], str]) -> None:
    """Print an answer as exact JSON, or in words, with values escaped so that none can control the terminal."""
    if as_json:
        click.echo(json_text(answer))
    else:
        say(human(visible_values(answer)))


def say(text: str, err: bool = False) -> None:
    """Print lines; control characters other than newline and tab are escaped."""
    click.echo(visible(text, keep="\n\t"), err=err)


def report(line: str) -> None:
    """Print a line about running work on stderr."""
    say(line, err=True)


def complain(text: str) -> None:
    """Print an error as one line on stderr."""
    click.echo(f"neardup: {one_line(text)}", err=True)


def confirmed(question: str) -> bool:
    """Ask for confirmation on stderr; anything but `y` and `yes` means no.

    Raises:
        click.UsageError: standard input ended.
    """
    click.echo(f"{one_line(question)} [y/N]: ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        click.echo(err=True)
        raise click.UsageError("standard input ended without an answer: use --yes to skip the question")
    return answer.strip().lower() in ("y", "yes")


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal; yields a function that takes the number of finished steps."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


def load_tensorflow() -> None:
    """Import TensorFlow, silencing the notes for its developers that it prints at every log level."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        importlib.import_module("tensorflow")
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def api_client(settings: Settings, *, attempts: int = ATTEMPTS) -> Client:
    """A client of this home's API.

    Args:
        settings: need not be resolved.
        attempts: 1 to fail at once while the API is down or busy.

    Raises:
        ServerUnavailable: no platform is running for this home, and the settings name no servers.
    """
    return Client.from_settings(resolve(settings), attempts=attempts)
