"""Which scope each call of the API needs; the guard and the OpenAPI description ask the same function. Pure.

A route that is not named here falls on the safe side: what is not GET or HEAD needs `admin`.
"""

from neardup_platform.tokens import Scope

# A page must load before a person can enter a token, and probes have none.
_OPEN = ("/", "/docs", "/openapi.json", "/healthz", "/readyz")
_OPEN_FOLDER = "/static/"
_READING = ("GET", "HEAD", "OPTIONS")


def required_scope(method: str, path: str) -> Scope | None:
    """The scope that a call needs, or None where nobody needs a token.

    Args:
        path: percent-encoded as it was sent, or the pattern of a route.
    """
    if method in _READING:
        return None if path in _OPEN or path.startswith(_OPEN_FOLDER) else Scope.READ
    if path in ("/v1/search", "/v1/pairs"):
        return Scope.SEARCH
    if path == "/v1/images:lookup":
        return Scope.READ
    if path == "/v1/overrides" or path.startswith("/v1/overrides/"):
        return Scope.CORRECT
    return Scope.ADMIN


def media_types(_method: str, path: str) -> tuple[str, ...]:
    """What kinds of body a call takes."""
    return ("application/json", "multipart/form-data") if path == "/v1/search" else ("application/json",)
