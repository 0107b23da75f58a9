"""Where pictures to ingest come from: files, folders and `s3://` prefixes; what is read of each is bounded."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from neardup_platform.artefacts.s3_client import open_s3, read_bounded, split_uri
from neardup_platform.errors import NotFound
from neardup_platform.images.embedding import PictureSource
from neardup_platform.settings import Settings

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})


def find_pictures(paths: Sequence[str], settings: Settings) -> Iterator[PictureSource]:
    """Every picture under the paths, in name order; other files of a folder are passed over.

    The image id is the path relative to the folder or prefix given, `/` between parts; a single file's name.

    Args:
        paths: files, folders or `s3://bucket/prefix` uris.

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
    root = path if path.is_dir() else path.parent
    # By stem, so that `cat.jpg` comes before `cat--crop.jpg`.
    found = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    files = sorted(found, key=lambda p: (p.parent, p.stem, p.suffix)) if path.is_dir() else [path]
    for file in files:
        yield PictureSource(file.relative_to(root).as_posix(), str(file), _file_reader(file, max_bytes))


def _file_reader(file: Path, max_bytes: int) -> Callable[[], bytes]:
    def read() -> bytes:
        with file.open("rb") as opened:
            return opened.read(max_bytes + 1)

    return read


def _find_in_s3(uri: str, settings: Settings) -> Iterator[PictureSource]:
    bucket, prefix = split_uri(uri)
    s3 = open_s3(settings.s3)
    found = False
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            key: str = item["Key"]
            if Path(key).suffix.lower() in SUFFIXES:
                found = True
                image_id = key.removeprefix(prefix).lstrip("/") or Path(key).name
                yield PictureSource(image_id, f"s3://{bucket}/{key}", _object_reader(s3, bucket, key, settings))
    if not found:
        raise NotFound(f"{uri}: no pictures under this prefix")


def _object_reader(s3: object, bucket: str, key: str, settings: Settings) -> Callable[[], bytes]:
    return lambda: read_bounded(s3, bucket, key, settings.images.max_bytes)
