"""Who may ask what of Dagster's webserver: the rules of its guard.

Launching a run uses this machine's resources, and Dagster's own webserver lets anyone do it: it takes GraphQL mutations
by GET and as plain text, from any page and under any Host. Nothing here imports Dagster.
"""

from collections.abc import Callable, Iterable

from neardup_platform.errors import SetupError
from neardup_platform.serving.access import BASIC, Access, check_opened, is_exposed, open_scopes
from neardup_platform.serving.guard import Refused, Request, Rules
from neardup_platform.serving.limits import Bounds
from neardup_platform.serving.tokens import Scope, Tokens, setting_token
from neardup_platform.settings import Settings

# Says which versions run, which is how its supervisor knows that it is ready.
_PROBE = "/server_info"
_GRAPHQL = "/graphql"
# A launch with its configuration has some kilobytes.
_MAX_BODY = 4 << 20
# Dagster's page brings a policy of its own for scripts.
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def dagster_rules(settings: Settings) -> Rules:
    """On loopback everyone on this machine may, once there is a token its holder; others need one, or a proxy's word.

    Raises:
        SetupError: others than this machine could ask, and nobody would be asked who they are; or an identity header
            is set and no proxy that may send it.
    """
    dagster = settings.dagster
    if dagster.identity_header and not dagster.proxies:
        raise SetupError(
            f"dagster.identity_header = {dagster.identity_header!r} is believed of no one: set dagster.proxies "
            "(NEARDUP_DAGSTER_PROXIES) to the addresses of the proxies that send it"
        )
    tokens = Tokens(settings.home, setting_token("dagster.token", dagster.token))
    exposed = is_exposed(dagster.host, dagster.names, dagster.proxies)
    if not dagster.identity_header:
        check_opened(tokens, exposed=exposed, setting="dagster", host=dagster.host)
    access = Access(tokens, _needs, lambda: open_scopes(tokens, exposed=exposed, public_read=False), challenge=BASIC)
    check = _checks(identified_by(dagster.identity_header, dagster.proxies), access)
    # A link may lead to any page but the one on which GraphQL is tried, which takes a query from its address.
    return Rules(dagster.host, dagster.names, check, lambda path: not is_graphql(path), headers=_HEADERS)


def dagster_bounds(settings: Settings) -> Bounds:
    """What the webserver's clients may take up: as of the API; a proxy is a client that stands for many."""
    api = settings.api
    per_client = api.max_requests if settings.dagster.proxies else api.max_requests_per_client
    return Bounds(lambda _: (_MAX_BODY, "a launch has less"), api.max_requests, per_client, api.read_timeout_s)


def _needs(request: Request) -> Scope | None:
    return None if request.path == _PROBE and request.method in ("GET", "HEAD") else Scope.ADMIN


def is_graphql(path: str) -> bool:
    """Whether a decoded path is that of GraphQL, however it is written."""
    return path.rstrip("/") == _GRAPHQL


def identified_by(header: str | None, proxies: Iterable[str]) -> Callable[[Request], bool]:
    """Whether one of the proxies says by a header whose request this is."""
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
            raise Refused(405, "GraphQL is not taken by GET: send it by POST as application/json", {"Allow": "POST"})

    return check


def _wants_page(request: Request) -> bool:
    """As Dagster decides it: with HTML among what is accepted it answers with a page and runs no query."""
    return "text/html" in request.headers.get("accept", "")
