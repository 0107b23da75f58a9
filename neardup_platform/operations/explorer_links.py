"""Addresses of pages in the explorer. Pure."""

from urllib.parse import quote

from neardup_platform.settings import Settings


def image_url(settings: Settings, image_id: str) -> str:
    """The page of an image, with its picture."""
    return f"{settings.api.url}/#/image/{quote(image_id, safe='')}"


def cluster_url(settings: Settings, head: str) -> str:
    """The page of a cluster, with its pictures."""
    return f"{settings.api.url}/#/cluster/{quote(head, safe='')}"
