"""The types of problem documents: what each means and what to do, and the page that documents them."""

from html import escape
from http import HTTPStatus
from typing import NamedTuple

PATH = "/docs/problems"


class ProblemType(NamedTuple):
    """One type of problem.

    Attributes:
        name: the anchor on the page.
        text: when it occurs, and what to do.
    """

    name: str
    text: str


TYPES: dict[int, ProblemType] = {
    400: ProblemType(
        "invalid-request",
        "A parameter, id, cursor, body or header is malformed. `errors` names the parts at fault. The same request "
        "fails again.",
    ),
    401: ProblemType(
        "token-needed",
        "The call needs a token, or the token sent is not known. Send `Authorization: Bearer …`; `neardup token "
        "create` makes one.",
    ),
    403: ProblemType(
        "not-allowed",
        "The token lacks the scope that the call needs, or the request comes from a page of another site. `detail` "
        "says which.",
    ),
    404: ProblemType(
        "not-found",
        "There is no such image, cluster, override, picture or path. If the id is a member instead of a head, `detail` "
        "names its head; if the image was forgotten, it says by whom and when.",
    ),
    405: ProblemType(
        "method-not-allowed", "The path does not support this method; the header `Allow` lists those it supports."
    ),
    408: ProblemType(
        "too-slow",
        "The head of a request must arrive within `api.read_timeout_s`, and its body at 16 KiB a second or more. Under "
        "load the slowest upload is dropped. Send it again.",
    ),
    409: ProblemType(
        "refused-by-the-worker",
        "The change conflicts with the current state; `detail` says how, and names the override that forbids it.",
    ),
    413: ProblemType("too-large", "The body is larger than the call accepts; `detail` names the setting."),
    414: ProblemType("too-long-a-path", "Path and query have more than 8,192 characters."),
    415: ProblemType(
        "wrong-media-type", "The call does not accept the media type of the body; `detail` lists the accepted ones."
    ),
    422: ProblemType(
        "too-costly",
        "Decoding the picture takes more memory, processor time or scans than allowed; `detail` names the limit. Save "
        "it again in a simpler form, or raise the limit.",
    ),
    421: ProblemType(
        "wrong-host",
        "The header Host names another server. On loopback use 127.0.0.1 or localhost; `api.names` adds further names.",
    ),
    429: ProblemType(
        "too-many-requests",
        "More searches per second than `terms.max_queries_per_s`, or more requests of one client in flight than "
        "`api.max_requests_per_client`. `Retry-After` says when to try again.",
    ),
    431: ProblemType("too-many-headers", "The request has more than 100 headers, or more than 32 KiB of them."),
    500: ProblemType("internal-error", "An internal error of this server; its log has the details."),
    503: ProblemType(
        "not-now",
        "The store, the models, the worker or S3 are not available yet, or the server is overloaded. `Retry-After` "
        "says when to try again. If the worker did not answer a change in time, it may still make it: send it again "
        "with the same `Idempotency-Key`.",
    ),
}


def type_of(status: int) -> str:
    """The `type` of problems with this status: a reference relative to this server, or `about:blank`."""
    return f"{PATH}#{TYPES[status].name}" if status in TYPES else "about:blank"


def problems_page() -> bytes:
    """The page that the types of problem documents refer to."""
    kinds = "\n".join(
        f'    <article class="card" id="{kind.name}"><h2>{status} {escape(HTTPStatus(status).phrase)}</h2>'
        f"<p><code>{kind.name}</code></p><p>{_marked(kind.text)}</p></article>"
        for status, kind in TYPES.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>neardup API: problems</title>
  <link rel="icon" href="/static/icon.svg">
  <link rel="stylesheet" href="/static/explorer.css">
</head>
<body>
  <header class="top">
    <div class="bar">
      <a class="brand" href="/"><img src="/static/icon.svg" alt="" width="26" height="26">neardup</a>
      <span class="grow"></span>
      <a class="quiet" href="/docs">API</a>
    </div>
  </header>
  <main class="docs">
    <h1>Problems</h1>
    <p>Every error of the API is a problem document (RFC 9457). Its <code>type</code> is one of these.</p>
{kinds}
  </main>
</body>
</html>
""".encode()


def _marked(text: str) -> str:
    """HTML of a text, with the parts in backquotes as `code` elements."""
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in enumerate(text.split("`"))
    )
