"""What both clients share: requests from calls, when to retry, answers and errors from responses.

Call → request → **response → answer or error**. The API's own text becomes the text of the error.

| response | error |
|---|---|
| 401, 403 | `AccessDenied` |
| 404 | `NotFound` |
| 409 | `Conflict` |
| 422 | `TooCostly` |
| 429 | `RateExceeded` |
| other 4xx | `InvalidRequest` |
| 502, 503, 504, no response | `ServerUnavailable` |
| others | `NeardupError` |
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError
from tenacity import (
    RetryCallState,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)

from neardup_platform.client.calls import Call, Picture
from neardup_platform.errors import (
    AccessDenied,
    Conflict,
    InvalidRequest,
    NeardupError,
    NotFound,
    RateExceeded,
    ServerUnavailable,
    TooCostly,
)
from neardup_platform.settings import Settings

T = TypeVar("T")

# The server waits up to 30 s for the worker before it answers a correction.
TIMEOUT_S = 60.0
ATTEMPTS = 4
# Retries end once the next one would begin later than this after the first attempt.
RETRY_FOR_S = 60.0

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
# A server's `Retry-After` is honoured up to this.
_LONGEST_RETRY_AFTER_S = 30.0
_CONNECT_TIMEOUT_S = 5.0
_RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_ERRORS: dict[int, type[NeardupError]] = {
    HTTPStatus.UNAUTHORIZED: AccessDenied,
    HTTPStatus.FORBIDDEN: AccessDenied,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.UNPROCESSABLE_ENTITY: TooCostly,
    HTTPStatus.BAD_GATEWAY: ServerUnavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: ServerUnavailable,
    HTTPStatus.GATEWAY_TIMEOUT: ServerUnavailable,
}
_BACKOFF = wait_exponential_jitter(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S, jitter=_FIRST_WAIT_S)


@dataclass(frozen=True, slots=True)
class Server:
    """The API's address and how it is asked.

    Attributes:
        url: without a slash at the end.
        token: sent as `Authorization: Bearer`; None for none.
        timeout_s: how long the server may take to answer, or to accept more of a picture.
        attempts: how often a request is sent, at most, while the server is busy or cannot be reached.
    """

    url: str
    token: str | None
    timeout_s: float
    attempts: int

    @classmethod
    def of(cls, url: str, token: str | None, timeout_s: float, attempts: int) -> "Server":
        """A server with a checked address.

        Raises:
            InvalidRequest: `url` is not an http or https address, or a number is out of range.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InvalidRequest(f"{url!r} is not the address of an API: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InvalidRequest(f"{url!r} is not the address of an API: use one such as http://127.0.0.1:8000")
        if timeout_s <= 0 or attempts < 1:
            raise InvalidRequest(f"timeout_s = {timeout_s} and attempts = {attempts}: both must be positive")
        return cls(url.rstrip("/"), token, timeout_s, attempts)

    def httpx_options(self) -> dict[str, Any]:
        """Options of an httpx client.

        The environment is ignored: a proxy would see the token, and a .netrc entry would replace it. Redirects are
        not followed, so a token never goes to another host.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = httpx.Timeout(self.timeout_s, connect=min(_CONNECT_TIMEOUT_S, self.timeout_s))
        return {"headers": headers, "timeout": timeout, "trust_env": False, "follow_redirects": False}

    def retry_options(self) -> dict[str, Any]:
        """Options of tenacity's `Retrying` and `AsyncRetrying`; the last response or error is the outcome."""
        return {
            "stop": stop_after_attempt(self.attempts) | stop_before_delay(RETRY_FOR_S),
            "wait": _wait_s,
            "retry": retry_if_result(_is_busy) | retry_if_exception_type(httpx.TransportError),
            "retry_error_callback": _last_outcome,
        }

    @contextmanager
    def request(self, call: Call[T]) -> Iterator[dict[str, Any]]:
        """Arguments of `httpx.Client.request`; pictures' files are open inside the with block."""
        arguments: dict[str, Any] = {"method": call.method, "url": self.url + call.path, "params": dict(call.query)}
        if call.key:
            arguments["headers"] = {"Idempotency-Key": call.key}
        if not call.pictures:
            yield arguments if call.body is None else {**arguments, "json": call.body}
            return
        with ExitStack() as stack:
            files = {
                name: (name, stack.enter_context(Path(picture).open("rb")) if _is_path(picture) else picture)
                for name, picture in call.pictures.items()
            }
            yield {**arguments, "files": files, "data": dict(call.fields)}

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the errors of httpx into ours.

        Raises:
            ServerUnavailable: the server cannot be reached, or did not answer in time.
        """
        try:
            yield
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise ServerUnavailable(f"the API at {self.url} does not answer ({why}): run `neardup up`") from error
        except httpx.InvalidURL as error:
            raise InvalidRequest(f"the request cannot be sent: {error}") from error

    def answer(self, call: Call[T], response: httpx.Response) -> T:
        """The answer in a response.

        Raises:
            NeardupError: the API reports a problem, or its answer is of another form than expected.
        """
        if not response.is_success:
            raise _error(response)
        try:
            answer: T = _reader(call.answer).validate_json(response.content)
        except ValidationError as error:
            found = error.errors()[0]
            place = ".".join(map(str, found["loc"])) or "the answer"
            raise NeardupError(
                f"{call.method} {self.url}{call.path} has an unexpected answer ({place}: {found['msg']}): "
                "is it the API of a near-duplicate platform of this version?"
            ) from error
        return answer


def address_of(settings: Settings) -> tuple[str, str | None]:
    """The address of this machine's API and the token that it asks for, if any."""
    token = settings.api.sent_token
    return settings.api.url, None if token is None else token.get_secret_value()


def whole(call: Call[T]) -> Call[T]:
    """A call that can be sent more than once: a file is read to its end, from where it stands.

    Paths are opened for each attempt.
    """
    pictures = {
        name: picture if isinstance(picture, str | PathLike | bytes) else bytes(picture.read())
        for name, picture in call.pictures.items()
    }
    return replace(call, pictures=pictures)


def _is_path(picture: Picture) -> TypeGuard[str | PathLike[str]]:
    return isinstance(picture, str | PathLike)


def _reader(answer: Any) -> TypeAdapter[Any]:
    return _cached_reader(answer)


@cache
def _cached_reader(answer: Any) -> TypeAdapter[Any]:
    return TypeAdapter(answer)


def _is_busy(response: httpx.Response) -> bool:
    return response.status_code in _RETRIED


def _last_outcome(state: RetryCallState) -> Any:
    assert state.outcome is not None  # noqa: S101 -- called after an attempt
    return state.outcome.result()


def _wait_s(state: RetryCallState) -> float:
    """Seconds until the next attempt: what the server asks for, or exponential back-off."""
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        asked_s = _retry_after_s(outcome.result())
        if asked_s is not None:
            return asked_s
    return _BACKOFF(state)


def _retry_after_s(response: httpx.Response) -> float | None:
    """The header Retry-After in seconds, which may hold a date (RFC 9110 §10.2.3); None without a usable one."""
    text = response.headers.get("retry-after", "")
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER_S)


def _error(response: httpx.Response) -> NeardupError:
    detail, status = _detail(response), response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateExceeded(detail, _retry_after_s(response) or 1.0)
    return _ERRORS.get(status, InvalidRequest if response.is_client_error else NeardupError)(detail)


def _detail(response: httpx.Response) -> str:
    """The text of the problem document; of another server's error, the request and the status."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        request = response.request
        return f"{request.method} {request.url} answered {response.status_code} {response.reason_phrase}"
