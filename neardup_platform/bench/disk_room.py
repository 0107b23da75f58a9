"""Room on the disk for what a benchmark writes, checked before it begins."""

import shutil
from tempfile import gettempdir

from neardup_platform.errors import SetupError


def require_room(images: int, image_bytes: int, where: str, instead: str) -> None:
    """Refuse what the disk of temporary files cannot hold.

    Args:
        image_bytes: on the disk for each of `images`.
        where: what holds them, as in "in Kafka and on S3".
        instead: a smaller measurement, as in "measure fewer hours".

    Raises:
        SetupError: fewer bytes are free.
    """
    needed, free = images * image_bytes, shutil.disk_usage(gettempdir()).free
    if free < needed:
        raise SetupError(
            f"{images:,} images take {needed / 1e9:.0f} GB {where}, {free / 1e9:.0f} GB are free under "
            f"{gettempdir()}: {instead}, or set TMPDIR to a larger disk"
        )
