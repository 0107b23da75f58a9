"""What the commands share: the `--json` option, printing, progress, and calls of the HTTP API."""

import importlib
import json
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

from neardup_platform.embedded.endpoints import resolve
from neardup_platform.errors import NeardupError, NotFound, ServerUnavailable
from neardup_platform.settings import Settings

API_TIMEOUT_S = 60.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def emit(answer: dict[str, Any], as_json: bool, human: Callable[[dict[str, Any]], str]) -> None:
    """Print an answer as JSON or in words."""
    click.echo(json.dumps(answer, ensure_ascii=False) if as_json else human(answer))


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
