"""Credentials at a door: which token a request carries, and whether it allows what is asked.

Without any token a door on loopback is open, and a door beyond loopback is never opened at all (`opened`). With one,
loopback goes on answering questions and asks for a token where something changes; beyond it every call needs one.
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
# Longer than any token; what is longer is not hashed.
_MAX_CREDENTIALS = 1_024


class Access:
    """A rule of a guard; see `Rules.check`.

    Args:
        tokens: those accepted.
        needs: the scope that a request asks for, or None where nobody needs a token.
        anyone_may: scopes that need no token.
        challenge: what a browser is asked for; `BASIC` makes it show a dialogue.
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
        """Let a request pass.

        Raises:
            Refused: 401, a token is needed and there is none, or an unknown one; 403, it lacks the scope; 503, the
                file of tokens is damaged.
        """
        try:
            self._check(request)
        except SetupError as error:
            log.error("%s", error)
            raise Refused(503, "the tokens cannot be read, so nobody is let in: the server's log says why") from None

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
            raise self._unknown("the token is not known: `neardup token list` names those that are; send")
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
        SetupError: others than this machine could ask it, and there is no token.
    """
    tokens = Tokens(settings.home, setting_token("api.token", settings.api.token))
    check_opened(tokens, exposed=api_is_exposed(settings.api), setting="api", host=settings.api.host)
    return tokens


def api_is_exposed(api: ApiSettings) -> bool:
    """Whether others than the processes of this machine can ask the API."""
    return is_exposed(api.host, api.names, api.proxies)


def open_scopes(tokens: Tokens, *, exposed: bool, public_read: bool) -> frozenset[Scope]:
    """What needs no token: on loopback all, and questions once there is a token; beyond it as `public_read` says."""
    if exposed:
        return frozenset({Scope.READ}) if public_read else frozenset()
    return frozenset({Scope.READ, Scope.SEARCH}) if tokens.all() else frozenset(Scope)


def is_exposed(host: str, names: Iterable[str] = (), proxies: Iterable[str] = ()) -> bool:
    """Whether others than the processes of this machine can ask: listening beyond loopback, or behind a proxy."""
    return not is_loopback(host) or any(True for _ in names) or any(True for _ in proxies)


def check_opened(tokens: Tokens, *, exposed: bool, setting: str, host: str) -> None:
    """Refuse to open a door to others while nobody could be told from anybody.

    Args:
        setting: section of the settings, as in `api`.

    Raises:
        SetupError: it is exposed and there is no token.
    """
    if exposed and not tokens.all():
        raise SetupError(
            f"{setting}.host = {host!r}, or a proxy, lets others than this machine ask, and there is no token: "
            f"set {setting}.token (NEARDUP_{setting.upper()}_TOKEN) or run `neardup token create NAME --scope read`"
        )


def credentials(authorization: str) -> str | None:
    """The token of an Authorization header, `Bearer TOKEN` or `Basic` with it as password; None without the header.

    Anything else is an empty text, which no token is.
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
