"""The disk that a load takes while it is built: known once the data set is scanned, and before anything is written."""

import shutil
from pathlib import Path

from neardup_platform.bootstrap.bulk_files import IMAGES
from neardup_platform.bootstrap.row_checks import Models
from neardup_platform.errors import SetupError
from neardup_platform.punched_files import can_punch_holes
from neardup_platform.records import Kind
from neardup_platform.scoring.json_vector_manifest import Manifest

# Of an image in the term index: first in a segment of the load, then in the one that all of them are merged into.
_SEGMENT_BYTES = 2 * 40
# Numbers and constants in the tables, beside ids and uris; these are in about three tables.
_TABLE_BYTES = 256
_TEXT_COPIES = 3
# Images whose pair vectors are on the disk beside the table, where they are released part by part: those of parts that
# are read or written.
PASSING_IMAGES = 1 << 18
# Disk that must stay free beside the files: of the stream meanwhile.
SPARE_BYTES = 256 << 20


def needed_bytes(
    models: Models, bulk: int, rest: int, text_bytes: int, *, releases: bool = True, stored_share: float = 1.0
) -> int:
    """Return what the files of a load take at their peak, at most, beside those of the scan.

    The bulk has its rows of the worker's vector files, both vectors in the store, and its part of the tables and of the
    term index; its pair vectors are on the disk until they are in the store. The rest has its vectors twice, in rows
    and as Parquet.

    Args:
        models: of the vectors.
        bulk, rest: images.
        text_bytes: of all ids, heads and uris, about.
        stored_share: what compression leaves of the vectors in the store, about.
        releases: whether the disk gets back what pair vectors took before the load is finished.
    """
    both = sum(2 * models[kind].dim for kind in Kind)
    pair = 2 * models[Kind.PAIR].dim
    each = sum(Manifest.of("", models).row_bytes) + round(both * stored_share) + _TABLE_BYTES + _SEGMENT_BYTES
    passing = min(bulk, PASSING_IMAGES) if releases else bulk
    return bulk * each + passing * pair + rest * 2 * both + _TEXT_COPIES * text_bytes


def check_room(folder: Path, models: Models, bulk: int, rest: int, stored_share: float) -> None:
    """Refuse to build a load that the disk has no room for.

    Args:
        folder: of the load, with the images that the scan has found.
        stored_share: see `needed_bytes`.

    Raises:
        SetupError: says how much is needed, how much is free, and what to do.
    """
    text_bytes = (folder / IMAGES).stat().st_size
    releases = can_punch_holes(folder)
    needed = SPARE_BYTES + needed_bytes(models, bulk, rest, text_bytes, releases=releases, stored_share=stored_share)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupError(
            f"loading {bulk + rest} images takes {needed / 1e6:.0f} MB of disk while it is built, {free / 1e6:.0f} MB "
            f"are free under {folder}: free some disk and send the command again, or load the data set in parts"
        )
