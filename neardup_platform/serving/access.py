"""Access control of an HTTP server: which token a request carries, and whether it allows the call.

While no token exists, a server on loopback allows every call, and a server beyond loopback does not start
(`check_opened`). With a token, loopback still answers questions without one and requires it for changes; beyond
loopback every call requires one.

FastAPI's security classes run after the body has been read. This check runs in the guard, on the head of the request
alone, so a request without a token costs nothing, and it protects the Dagster webserver, too.
"""

import base64
import binascii
import logging
from collections.abc import Callable, Iterable

from neardup_platform.errors import SetupError
from neardup_platform.serving.guard import Refused, Request
from neardup_platform.serving.tokens import Scope, Tokens, holder, is_loopback, setting_token
from neardup_platform.settings import ApiSettings, Settings

log = logging.getLogger(__name__)

BEARER = 'Bearer realm="neardup"'
BASIC = 'Basic realm="neardup: any name, and a token as password", charset="UTF-8"'
# Longer than any token. The rest of a longer text is ignored.
_MAX_CREDENTIALS = 1_024


class Access:
    """A rule of a guard; see `Rules.check`.

    Args:
        tokens: the accepted tokens.
        needs: returns the scope that a request needs, or None if it needs no token.
        anyone_may: returns the scopes that need no token.
        challenge: sent to clients as `WWW-Authenticate`; `BASIC` makes browsers ask for the token.
    """

    def __init__(
        self,
        tokens: Tokens,
        needs: Callable[[Request], Scope | None],
        anyone_may: Callable[[], frozenset[Scope]],
        challenge: str = BEARER,
    ) -> None:
        self._tokens = tokens
        self._needs = needs
        self._anyone_may = anyone_may
        self._challenge = challenge

    def __call__(self, request: Request) -> None:
        """Admit a request.

        Raises:
            Refused: 401, the token is missing or unknown; 403, it lacks the scope; 503, the file of tokens is damaged.
        """
        try:
            self._check(request)
        except SetupError as error:
            log.error("%s", error)
            raise Refused(
                503, "the tokens cannot be read, so every call that needs one is refused: the server's log says why"
            ) from None

    def _check(self, request: Request) -> None:
        scope = self._needs(request)
        if scope is None:
            return
        text = credentials(request.headers.get("authorization", ""))
        if text is None:
            if scope in self._anyone_may():
                return
            raise self._unknown(f"this call needs a token with the scope {scope}: send")
        found = holder(self._tokens.all(), text)
        if found is None:
            raise self._unknown("the token is not known: `neardup token list` lists the known ones; send")
        if not found.allows(scope):
            raise Refused(
                403,
                f"token {found.name!r} allows {', '.join(found.scopes)}, this call needs {scope}: make another with "
                f"`neardup token create NAME --scope {scope}`",
                {"WWW-Authenticate": f'{self._challenge}, error="insufficient_scope", scope="{scope}"'},
            )

    def _unknown(self, text: str) -> Refused:
        return Refused(401, f"{text} `Authorization: Bearer …`", {"WWW-Authenticate": self._challenge})


def api_tokens(settings: Settings) -> Tokens:
    """The tokens that the API accepts.

    Raises:
        SetupError: the API is reachable from other machines, and there is no token.
    """
    tokens = Tokens(settings.home, setting_token("api.token", settings.api.token))
    check_opened(tokens, exposed=api_is_exposed(settings.api), setting="api", host=settings.api.host)
    return tokens


def api_is_exposed(api: ApiSettings) -> bool:
    """Whether the API is reachable from other machines."""
    return is_exposed(api.host, api.names, api.proxies)


def open_scopes(tokens: Tokens, *, exposed: bool, public_read: bool) -> frozenset[Scope]:
    """Scopes that need no token.

    On loopback all of them, or only questions once a token exists; beyond loopback none, or questions with
    `public_read`.
    """
    if exposed:
        return frozenset({Scope.READ}) if public_read else frozenset()
    return frozenset({Scope.READ, Scope.SEARCH}) if tokens.all() else frozenset(Scope)


def is_exposed(host: str, names: Iterable[str] = (), proxies: Iterable[str] = ()) -> bool:
    """Whether a server is reachable from other machines: it listens beyond loopback, or is behind a proxy."""
    return not is_loopback(host) or any(True for _ in names) or any(True for _ in proxies)


def check_opened(tokens: Tokens, *, exposed: bool, setting: str, host: str) -> None:
    """Refuse to start a server that is reachable from other machines without any token.

    Args:
        tokens: the accepted tokens.
        exposed: whether it is reachable from other machines.
        setting: section of the settings, such as `api`.
        host: the address it listens on.

    Raises:
        SetupError: it is exposed and there is no token.
    """
    if exposed and not tokens.all():
        raise SetupError(
            f"{setting}.host = {host!r}, or a proxy, makes it reachable from other machines, and there is no token: "
            f"set {setting}.token (NEARDUP_{setting.upper()}_TOKEN) or run `neardup token create NAME --scope read`"
        )


def credentials(authorization: str) -> str | None:
    """The token of an Authorization header: `Bearer TOKEN`, or `Basic` with the token as the password.

    Returns:
        The token; None without the header; the empty text, which is never a token, for anything else.
    """
    if not authorization:
        return None
    scheme, _, value = authorization[:_MAX_CREDENTIALS].partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
