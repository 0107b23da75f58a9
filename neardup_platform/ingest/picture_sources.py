"""The sources of pictures to ingest: files, folders and `s3://` prefixes; the bytes read from each are bounded.

The walk of a folder never leaves it: special files, and links that lead out of it, are skipped and counted. Whether a
file is a picture depends on its first bytes, which are checked when it is read.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from neardup_platform.errors import BadPicture, NotAPicture, NotFound
from neardup_platform.images.embedded_pictures import PictureSource
from neardup_platform.images.picture_kinds import HEAD_BYTES, skipped_as
from neardup_platform.s3_client import open_s3, read_bounded, split_uri
from neardup_platform.settings import Settings

# Categories of skipped entries; that of a file with content depends on the content.
LINK_OUT, LINK_TO_FOLDER, LINK_BROKEN = "link out of the folder", "link to a folder", "broken link"
UNREADABLE = "unreadable folder"
_SPECIAL = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "folder",
}


def find_pictures(paths: Sequence[str], settings: Settings) -> Iterator[PictureSource]:
    """Every file under the paths, in name order; reading a file that is not a picture raises `NotAPicture`.

    The image id is the path relative to the given folder or prefix, with `/` between parts; for a single file, its
    name.

    Args:
        paths: files, folders or `s3://bucket/prefix` uris. A file named directly must be a picture.

    Raises:
        NotFound: a path does not exist, or a prefix has no objects.
    """
    for path in paths:
        if path.startswith("s3://"):
            yield from _find_in_s3(path, settings)
        else:
            yield from _find_in_folder(Path(path), settings.images.max_bytes)


def _find_in_folder(path: Path, max_bytes: int) -> Iterator[PictureSource]:
    if not path.exists():
        raise NotFound(f"{path} does not exist: give a picture, a folder, or an s3:// prefix")
    if not path.is_dir():
        yield PictureSource(path.name, str(path), _file_reader(path.resolve(), max_bytes))
        return
    # By stem, so that `cat.jpg` comes before `cat--crop.jpg`.
    for file, skipped in sorted(_walk(path), key=lambda found: (found[0].parent, found[0].stem, found[0].suffix)):
        read = _skipping(skipped) if skipped else _file_reader(file.resolve(), max_bytes, file.name)
        yield PictureSource(file.relative_to(path).as_posix(), str(file), read)


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Everything below a folder except folders, unordered, each with its category if it is skipped, or ""."""
    inside, folders = root.resolve(), [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listed:
                entries = list(listed)
        except OSError:
            yield folder, UNREADABLE
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                yield path, _link(path, inside)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path, "" if entry.is_file(follow_symlinks=False) else _special(path)


def _link(path: Path, inside: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a cycle of links
        return LINK_BROKEN
    if not target.is_relative_to(inside):
        return LINK_OUT
    if target.is_dir():
        return LINK_TO_FOLDER
    return "" if target.is_file() else _special(target)


def _special(path: Path) -> str:
    try:
        return _SPECIAL.get(stat.S_IFMT(path.lstat().st_mode), "special file")
    except OSError:
        return LINK_BROKEN


def _skipping(kind: str) -> Callable[[], bytes]:
    def read() -> NoReturn:
        raise NotAPicture(kind)

    return read


def _file_reader(file: Path, max_bytes: int, skip_as: str = "") -> Callable[[], bytes]:
    """A function that reads a regular file that is not a link.

    Args:
        file: resolved.
        skip_as: name of the file in its folder; it is skipped if it is not a picture. Empty: it must be a picture.
    """

    def read() -> bytes:
        # Non-blocking, in case the file has become a pipe in the meantime.
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as opened:
            mode = os.fstat(number).st_mode
            if not stat.S_ISREG(mode):
                raise BadPicture(f"a {_SPECIAL.get(stat.S_IFMT(mode), 'special file')}, not a picture file")
            head = opened.read(min(HEAD_BYTES, max_bytes + 1))
            if skip_as:
                _skip_if_no_picture(skip_as, head)
            return head + opened.read(max_bytes + 1 - len(head))

    return read


def _skip_if_no_picture(file_name: str, head: bytes) -> None:
    kind = skipped_as(file_name, head)
    if kind is not None:
        raise NotAPicture(kind)


def _find_in_s3(uri: str, settings: Settings) -> Iterator[PictureSource]:
    bucket, prefix = split_uri(uri)
    s3 = open_s3(settings.s3)
    found = False
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            key: str = item["Key"]
            if key.endswith("/"):  # a folder, as created by consoles
                continue
            found = True
            image_id = key.removeprefix(prefix).lstrip("/") or PurePosixPath(key).name
            yield PictureSource(image_id, f"s3://{bucket}/{key}", _object_reader(s3, bucket, key, settings))
    if not found:
        raise NotFound(f"{uri}: no objects under this prefix")


def _object_reader(s3: object, bucket: str, key: str, settings: Settings) -> Callable[[], bytes]:
    def check_head(head: bytes) -> None:
        _skip_if_no_picture(PurePosixPath(key).name, head)

    return lambda: read_bounded(s3, bucket, key, settings.images.max_bytes, check_head)
