"""What each call of the API needs and accepts: scope, media types of the body and its size. Pure.

The guard, the limits and the OpenAPI description use the same functions. The defaults are the safe ones: a route that
is not named here and is not GET or HEAD needs `admin`, and accepts a short JSON body.
"""

from neardup_platform.serving.tokens import Scope
from neardup_platform.settings import ApiSettings

# A page must load before a person can enter a token, and probes have none.
_OPEN = ("/", "/docs", "/docs/problems", "/openapi.json", "/healthz", "/readyz")
_OPEN_FOLDER = "/static/"
_SEARCH, _PAIRS = "/v1/search", "/v1/pairs"
_PICTURES = (_SEARCH, _PAIRS)
_LOOKUP = "/v1/images:lookup"
JSON, MULTIPART = "application/json", "multipart/form-data"
# Room for the boundaries and headers of a multipart body around a picture of the largest size.
_FRAME_BYTES = 4_096
# Two vectors of 16,384 dimensions, 32 characters a number.
_VECTORS_BYTES = 1 << 20
# 1,000 ids of 512 bytes, twice that for what JSON escapes.
_LOOKUP_BYTES = 1 << 20
_HASHES = "/v1/hashes/"
# 2,000 of 64 digits.
_HASHES_BYTES = 1 << 18
_READING = ("GET", "HEAD", "OPTIONS")


def required_scope(method: str, path: str) -> Scope | None:
    """The scope that a call needs, or None if it needs no token.

    Args:
        method: in upper case.
        path: percent-encoded as it was sent, or the pattern of a route.
    """
    if method in _READING:
        return None if path in _OPEN or path.startswith(_OPEN_FOLDER) else Scope.READ
    if path in _PICTURES:
        return Scope.SEARCH
    if path == _LOOKUP:
        return Scope.READ
    if path == "/v1/overrides" or path.startswith(("/v1/overrides/", "/v1/banks/", _HASHES)):
        return Scope.CORRECT
    return Scope.ADMIN


def media_types(_method: str, path: str) -> tuple[str, ...]:
    """The media types that a call accepts as its body."""
    return (JSON, MULTIPART) if path in _PICTURES else (JSON,)


def max_body(path: str, media_type: str, api: ApiSettings) -> tuple[int, str]:
    """The largest body of a call in bytes, and the setting that says so."""
    if path == _LOOKUP:
        return max(_LOOKUP_BYTES, api.max_json_bytes), "1,000 ids as JSON"
    if path.startswith(_HASHES):
        return max(_HASHES_BYTES, api.max_json_bytes), "2,000 hashes as JSON"
    if path not in _PICTURES:
        return api.max_json_bytes, "api.max_json_bytes"
    # A search has one example, a pair has two.
    examples, vectors = (2, "four vectors") if path == _PAIRS else (1, "two vectors")
    if media_type == MULTIPART:
        return examples * (api.max_upload_bytes + _FRAME_BYTES), "api.max_upload_bytes"
    return max(examples * _VECTORS_BYTES, api.max_json_bytes), f"{vectors} as JSON"
