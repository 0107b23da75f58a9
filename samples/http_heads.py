"""Reads clusters back through the HTTP API, as any other client would."""

import json
import time
from collections.abc import Sequence
from http import HTTPStatus
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

from neardup_platform.errors import ServerUnavailable

REQUEST_TIMEOUT_S = 10.0
_RETRY_S = 0.2


def _head(api_url: str, image_id: str) -> str | None:
    url = f"{api_url.rstrip('/')}/v1/images/{quote(image_id, safe='')}"
    try:
        with urlopen(url, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310 -- our own API's address
            return str(json.load(answer)["head"])
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise ServerUnavailable(f"GET {url} answered {error.code}: see `neardup doctor`") from error
    except (URLError, TimeoutError) as error:
        raise ServerUnavailable(f"GET {url} got no answer ({error}): see `neardup status`") from error


def read_heads(api_url: str, image_ids: Sequence[str], patience_s: float = 0.0) -> dict[str, str]:
    """The cluster of each image.

    Args:
        api_url: such as `http://127.0.0.1:8000`.
        image_ids: ids to ask for.
        patience_s: how long to go on asking for ids not yet known; the API's reader trails the worker.

    Returns:
        Image id to head, for those known when the patience ended.

    Raises:
        ServerUnavailable: the API gave no answer, or one other than 200 and 404.
    """
    deadline = time.monotonic() + patience_s
    heads: dict[str, str] = {}
    missing = list(image_ids)
    while True:
        heads |= {image_id: head for image_id in missing if (head := _head(api_url, image_id)) is not None}
        missing = [image_id for image_id in missing if image_id not in heads]
        if not missing or time.monotonic() >= deadline:
            return heads
        time.sleep(_RETRY_S)
