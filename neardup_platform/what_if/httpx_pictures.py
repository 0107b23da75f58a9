"""Small pictures of images from the API, ready to embed; an image without one is left out."""

from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote

import httpx

from neardup_platform.client.exchange import Server, address_of
from neardup_platform.evaluation.report_plots import data_uri
from neardup_platform.settings import Settings

MOST_PICTURES = 64
_MOST_BYTES = 400_000
_TIMEOUT_S = 5.0
# Formats that are not programs, by media type.
_KINDS = {f"image/{kind}": kind for kind in ("png", "jpeg", "webp", "gif")}


def fetch_pictures(settings: Settings, image_ids: Iterable[str]) -> dict[str, str]:
    """Returns data URIs by image id, of at most `MOST_PICTURES` images; none if the API does not answer."""
    files = fetch_picture_files(settings, image_ids, MOST_PICTURES)
    return {image_id: data_uri(content, kind) for image_id, (content, kind) in files.items()}


def fetch_picture_files(settings: Settings, image_ids: Iterable[str], most: int) -> dict[str, tuple[bytes, str]]:
    """Returns bytes and format by image id, of the first `most` images; none if the API does not answer."""
    url, token = address_of(settings)
    server = Server.of(url, token, _TIMEOUT_S, 1)
    found: dict[str, tuple[bytes, str]] = {}
    with suppress(httpx.TransportError), httpx.Client(**server.httpx_options()) as client:
        for image_id in list(dict.fromkeys(image_ids))[:most]:
            answer = client.get(f"{server.url}/v1/images/{quote(image_id, safe='')}/picture")
            kind = _KINDS.get(answer.headers.get("content-type", ""))
            if answer.is_success and kind and len(answer.content) <= _MOST_BYTES:
                found[image_id] = answer.content, kind
    return found
