"""Pictures of images as small JPEGs to embed.

Producers choose the bytes, so they are decoded in a separate process.
"""

from collections.abc import Iterable

from PIL import Image

from neardup_platform.errors import BadPicture
from neardup_platform.evaluation.picture_sheet import jpeg
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.settings import Settings
from neardup_platform.what_if.httpx_pictures import fetch_picture_files

SIDE_PX = 200
MOST_PICTURES = 96


def thumbnails(settings: Settings, image_ids: Iterable[str]) -> dict[str, bytes]:
    """JPEGs within a square of `SIDE_PX`, by id: of the first `MOST_PICTURES` images, those that the API serves."""
    files = fetch_picture_files(settings, image_ids, MOST_PICTURES)
    found: dict[str, bytes] = {}
    if files:
        with DecoderPool(settings.images, 1) as pool:
            for image_id, (content, _) in files.items():
                try:
                    image = Image.fromarray(pool.decode(content, SIDE_PX))
                except BadPicture:
                    continue
                image.thumbnail((SIDE_PX, SIDE_PX))
                found[image_id] = jpeg(image)
    return found
