"""The guard's rules for Dagster's webserver.

Launching a run uses this machine's resources, and Dagster's own webserver lets anyone do it: it accepts GraphQL
mutations by GET and as plain text, from any page and under any Host. Nothing here imports Dagster.
"""

from collections.abc import Callable, Iterable

from neardup_platform.errors import SetupError
from neardup_platform.serving.access import BASIC, Access, check_opened, is_exposed, open_scopes
from neardup_platform.serving.guard import Refused, Request, Rules
from neardup_platform.serving.limits import Bounds
from neardup_platform.serving.tokens import Scope, Tokens, setting_token
from neardup_platform.settings import Settings

# Returns the running versions; the supervisor probes it for readiness.
_PROBE = "/server_info"
_GRAPHQL = "/graphql"
# A launch with its configuration has some kilobytes.
_MAX_BODY = 4 << 20
# Dagster's page has its own policy for scripts.
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def dagster_rules(settings: Settings) -> Rules:
    """The rules of the webserver.

    On loopback every process of this machine may call it; once a token exists, callers need it. Beyond loopback
    callers need a token, or a trusted proxy that identifies them.

    Raises:
        SetupError: the webserver is reachable from other machines without any authentication; or an identity header
            is set without a proxy that may send it.
    """
    dagster = settings.dagster
    if dagster.identity_header and not dagster.proxies:
        raise SetupError(
            f"dagster.identity_header = {dagster.identity_header!r} is not trusted from any address: set "
            "dagster.proxies (NEARDUP_DAGSTER_PROXIES) to the addresses of the proxies that send it"
        )
    tokens = Tokens(settings.home, setting_token("dagster.token", dagster.token))
    exposed = is_exposed(dagster.host, dagster.names, dagster.proxies)
    if not dagster.identity_header:
        check_opened(tokens, exposed=exposed, setting="dagster", host=dagster.host)
    access = Access(tokens, _needs, lambda: open_scopes(tokens, exposed=exposed, public_read=False), challenge=BASIC)
    check = _checks(identified_by(dagster.identity_header, dagster.proxies), access)
    # Links may lead to any page except the GraphQL console, which takes a query from its address.
    return Rules(dagster.host, dagster.names, check, lambda path: not is_graphql(path), headers=_HEADERS)


def dagster_bounds(settings: Settings) -> Bounds:
    """The same bounds as for the API's clients; a proxy counts as many clients."""
    api = settings.api
    per_client = api.max_requests if settings.dagster.proxies else api.max_requests_per_client
    return Bounds(lambda _: (_MAX_BODY, "a launch is smaller"), api.max_requests, per_client, api.read_timeout_s)


def _needs(request: Request) -> Scope | None:
    return None if request.path == _PROBE and request.method in ("GET", "HEAD") else Scope.ADMIN


def is_graphql(path: str) -> bool:
    """Whether a decoded path is that of GraphQL, with or without trailing slashes."""
    return path.rstrip("/") == _GRAPHQL


def identified_by(header: str | None, proxies: Iterable[str]) -> Callable[[Request], bool]:
    """A predicate: whether a trusted proxy identifies the user of a request by this header."""
    trusted = frozenset(proxies)

    def identified(request: Request) -> bool:
        said = request.headers.getlist(header) if header else []
        return request.client in trusted and len(said) == 1 and bool(said[0].strip())

    return identified


def _checks(identified: Callable[[Request], bool], access: Access) -> Callable[[Request], None]:
    def check(request: Request) -> None:
        if not identified(request):
            access(request)
        if is_graphql(request.path) and request.method == "GET" and not _wants_page(request):
            raise Refused(405, "GraphQL is not accepted by GET: send it by POST as application/json", {"Allow": "POST"})

    return check


def _wants_page(request: Request) -> bool:
    """Whether Dagster answers with a page and runs no query, because the client accepts HTML."""
    return "text/html" in request.headers.get("accept", "")
