"""Reads the clusters of many images, waiting for those that the API's reader does not see yet."""

import time
from collections.abc import Sequence

from neardup_platform import Client

_RETRY_S = 0.2


def read_heads(api: Client, image_ids: Sequence[str], timeout_s: float) -> dict[str, str]:
    """The cluster of each image.

    Args:
        api: a client of the running platform.
        image_ids: ids to look up.
        timeout_s: how long to ask again for ids that are not known yet; the API's reader trails the worker.

    Returns:
        Image id → head, for the ids known when the time was up.
    """
    deadline = time.monotonic() + timeout_s
    heads: dict[str, str] = {}
    missing = list(image_ids)
    while True:
        heads |= api.lookup_many(missing)
        missing = [image_id for image_id in missing if image_id not in heads]
        if not missing or time.monotonic() >= deadline:
            return heads
        time.sleep(_RETRY_S)
