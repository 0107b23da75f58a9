"""What the commands share: the `--json` option, printing, progress, and calls of the HTTP API."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import requests
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neardup_platform.errors import NeardupError, NotFound, ServerUnavailable
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.terminal_text import json_text, one_line, visible, visible_values

API_TIMEOUT_S = 60.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def emit(answer: dict[str, Any], as_json: bool, human: Callable[[dict[str, Any]], str]) -> None:
    """Print an answer: exactly, as JSON, or in words in which no value can control the terminal or forge a line."""
    if as_json:
        click.echo(json_text(answer))
    else:
        say(human(visible_values(answer)))


def say(text: str, err: bool = False) -> None:
    """Print lines; every other control character is escaped."""
    click.echo(visible(text, keep="\n\t"), err=err)


def report(line: str) -> None:
    """Print a line about work in progress on stderr."""
    say(line, err=True)


def complain(text: str) -> None:
    """Print what is wrong as one line on stderr."""
    click.echo(f"neardup: {one_line(text)}", err=True)


def confirmed(question: str) -> bool:
    """Ask on stderr; everything but `y` and `yes` is no.

    Raises:
        click.UsageError: standard input has no answer.
    """
    click.echo(f"{one_line(question)} [y/N]: ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        click.echo(err=True)
        raise click.UsageError("standard input ended without an answer: give --yes to go on without being asked")
    return answer.strip().lower() in ("y", "yes")


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr when that is a terminal; yields a function that takes steps done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


def load_tensorflow() -> None:
    """Import TensorFlow without the notes for its builders that it prints whatever its log level is."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        importlib.import_module("tensorflow")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Api:
    """The platform's HTTP API as the command line uses it."""

    def __init__(self, settings: Settings) -> None:
        resolved = resolve(settings)
        self.url = resolved.api.url
        self._session = requests.Session()
        # Neither a proxy nor a .netrc of the user's has a say in a call to this platform.
        self._session.trust_env = False
        sent = resolved.api.sent_token
        if sent is not None:
            self._session.headers["Authorization"] = f"Bearer {sent.get_secret_value()}"

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """A GET that must succeed; see `call`."""
        return self.call("GET", path, params={k: v for k, v in query.items() if v is not None})

    def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """One call.

        Raises:
            NotFound: 404, with the server's hint.
            ServerUnavailable: no answer, or 503.
            NeardupError: any other problem the server reports.
        """
        try:
            answer = self._session.request(method, self.url + path, timeout=API_TIMEOUT_S, **arguments)
        except requests.RequestException as error:
            raise ServerUnavailable(f"the API at {self.url} does not answer: run `neardup up`") from error
        if answer.ok:
            content: dict[str, Any] = answer.json()
            return content
        detail = _problem(answer)
        if answer.status_code == requests.codes.not_found:
            raise NotFound(detail)
        if answer.status_code == requests.codes.service_unavailable:
            raise ServerUnavailable(detail)
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise NeardupError(f"{detail} (set NEARDUP_API_CLIENT_TOKEN, which commands send)")
        raise NeardupError(detail)


def image_path(image_id: str, *more: str) -> str:
    """Path of an image's resource, the id percent-encoded."""
    return "/".join(("/v1/images", quote(image_id, safe=""), *more))


def _problem(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError):
        return f"{answer.request.method} {answer.url} answered {answer.status_code} {answer.reason}"
