"""Data sets on S3: which are complete, and their files, read in parts without a copy on this machine.

    s3://{bucket}/{bootstrap.prefix}{name}/…

The version of a data set fixes the content of its files: each answer of S3 carries the etag of the object, and another
one than that of the version ends the reading.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.bootstrap.completeness import (
    MANIFEST,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    Incomplete,
    bad_name,
    by_data_set,
    data_set_of,
    incomplete_in_words,
)
from neardup_platform.bootstrap.data_set import DataFile, DataSet
from neardup_platform.bootstrap.parquet_rows import Progress
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.ingest.parquet_files import data_paths
from neardup_platform.s3_client import read_bounded, unreadable

# Of all data sets together, and read at once from one file.
MAX_OBJECTS = 200_000
_READ_BYTES = 4 << 20
# A request takes as long as this many bytes do. A file of few is fetched at once: it has as many small columns.
_AHEAD_BYTES = 1 << 20
_WHOLE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class DataSets:
    """What is under the prefix.

    Attributes:
        complete: by name.
        incomplete: by name.
    """

    complete: tuple[DataSet, ...]
    incomplete: tuple[Incomplete, ...]


def find_data_sets(s3: Any, bucket: str, prefix: str) -> DataSets:
    """List the prefix and read the manifests.

    Args:
        prefix: with a slash at its end.

    Raises:
        ServerUnavailable: S3 does not answer. A missing bucket counts as empty.
        BadArtefact: there are too many objects.
    """
    found = by_data_set(_objects(s3, bucket, prefix), prefix)
    judged = [_judged(s3, bucket, prefix, name, objects) for name, objects in sorted(found.items())]
    return DataSets(
        tuple(each for each in judged if isinstance(each, DataSet)),
        tuple(each for each in judged if isinstance(each, Incomplete)),
    )


def find_data_set(s3: Any, bucket: str, prefix: str, name: str, version: str | None = None) -> DataSet:
    """The files of one data set.

    Args:
        version: that it must have; None: any.

    Raises:
        NotFound: there is none of the name.
        BadArtefact: it is not complete, or has another version.
        ServerUnavailable: S3 does not answer.
    """
    place = f"s3://{bucket}/{prefix}{name}/"
    objects = by_data_set(_objects(s3, bucket, f"{prefix}{name}/"), prefix).get(name)
    if not objects:
        raise NotFound(f"there is no data set {name!r}: no object is in {place}")
    found = _judged(s3, bucket, prefix, name, objects)
    if isinstance(found, Incomplete):
        raise BadArtefact(f"{place} is not complete: {incomplete_in_words([found])}")
    if version not in (None, found.version):
        raise BadArtefact(
            f"{place} has the version {found.version} now, not {version}: its files were replaced; load that version"
        )
    return found


def put_data_set(
    s3: Any,
    bucket: str,
    prefix: str,
    name: str,
    folder: Path,
    progress: Progress = lambda _: None,
    *,
    hold: bool = False,
) -> int:
    """Upload the Parquet files of a folder, and a manifest of them when all are there; returns their number.

    Args:
        folder: with the files, or with folders of them.
        progress: called with the number of files uploaded since the last call.
        hold: see `DataSet.held`.

    Raises:
        BadArtefact: the folder has no such files, or others that may be meant, or the name is not one.
        ServerUnavailable: S3 does not answer.
    """
    files = files_of(folder)
    if why := bad_name(name):
        raise BadArtefact(f"data set {name[:100]!r} cannot be uploaded: {why}")
    try:
        # An earlier manifest would complete a mixture of files.
        s3.delete_object(Bucket=bucket, Key=f"{prefix}{name}/{MANIFEST}")
        for path in files:
            s3.upload_file(str(folder / path), bucket, f"{prefix}{name}/{path}")
            progress(1)
        listed: dict[str, Any] = {
            "files": [{"name": path, "size": (folder / path).stat().st_size} for path in files],
            **({"hold": True} if hold else {}),
        }
        s3.put_object(Bucket=bucket, Key=f"{prefix}{name}/{MANIFEST}", Body=json.dumps(listed).encode())
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{prefix}{name}/ failed: {error}") from error
    return len(files)


def files_of(folder: Path) -> list[str]:
    """The Parquet files in a folder of this machine and in the folders in it, relative to it, in order.

    Raises:
        BadArtefact: there are none, too many, or others that may be meant.
    """
    paths = data_paths(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
    if isinstance(paths, str):
        raise BadArtefact(f"{folder} is not uploaded: {paths}")
    if not paths:
        raise BadArtefact(f"{folder} has no .parquet files")
    if len(paths) > MAX_FILES:
        raise BadArtefact(
            f"{folder} has {len(paths):,} Parquet files, at most {MAX_FILES:,} make a data set: write larger files"
        )
    return paths


def sources(s3: Any, bucket: str, data_set: DataSet) -> list[Source]:
    """The files of a data set, in order, each read from S3 in parts as it is needed."""
    return [Source(f"s3://{bucket}/{each.key}", partial(_open, s3, bucket, each)) for each in data_set.files]


def fetch_file(s3: Any, bucket: str, file: DataFile, path: Path) -> None:
    """Download a file of a data set.

    Raises:
        NotFound: it was replaced or deleted since the version was determined.
        ServerUnavailable: S3 does not answer.
        OSError: the disk is full.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=file.key)
        _check_etag(bucket, file, answer)
        with answer["Body"] as body, path.open("wb") as out:
            while part := body.read(_READ_BYTES):
                out.write(part)
    except (BotoCoreError, ClientError) as error:
        raise _vanished(bucket, file, error) from error


class S3File(io.RawIOBase):
    """An object of one content, read in parts; what small reads fetch beyond their end serves the next ones.

    Raises:
        NotFound: it was replaced or deleted since.
        ServerUnavailable: S3 does not answer.
    """

    def __init__(self, s3: Any, bucket: str, file: DataFile) -> None:
        self._s3, self._bucket, self._file, self._at = s3, bucket, file, 0
        # What was fetched last, and its place.
        self._fetched, self._start = b"", 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place of the next read."""
        return self._at

    def seek(self, offset: int, start: int = io.SEEK_SET, /) -> int:
        """Move the place of the next read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[start]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; returns the number of bytes, 0 at the end."""
        end = min(self._at + len(buffer), self._file.size)
        if end <= self._at:
            return 0
        if not self._start <= self._at < end <= self._start + len(self._fetched):
            whole = self._file.size <= _WHOLE_BYTES
            self._start = 0 if whole else self._at
            self._fetched = self._fetch(self._start, self._file.size if whole else max(end, self._at + _AHEAD_BYTES))
        content = memoryview(self._fetched)[self._at - self._start : end - self._start]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _fetch(self, start: int, end: int) -> bytes:
        span = f"bytes={start}-{min(end, self._file.size) - 1}"
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._file.key, Range=span)
            _check_etag(self._bucket, self._file, answer)
            with answer["Body"] as body:
                content: bytes = body.read()
        except (BotoCoreError, ClientError) as error:
            raise _vanished(self._bucket, self._file, error) from error
        return content


def _open(s3: Any, bucket: str, file: DataFile) -> S3File:
    return S3File(s3, bucket, file)


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[DataFile]:
    count = 0
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                count += 1
                if count > MAX_OBJECTS:
                    raise BadArtefact(
                        f"s3://{bucket}/{prefix} has over {MAX_OBJECTS} objects: delete data sets that are loaded, or "
                        "write larger files"
                    )
                yield DataFile(item["Key"], item["Size"], item["ETag"].strip('"'))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchBucket":
            raise ServerUnavailable(f"listing s3://{bucket}/{prefix} failed: {error}") from error
    except BotoCoreError as error:
        raise ServerUnavailable(f"listing s3://{bucket}/{prefix} failed: {error}") from error


def _judged(s3: Any, bucket: str, prefix: str, name: str, objects: list[DataFile]) -> DataSet | Incomplete:
    folder = f"{prefix}{name}/"
    manifest = None
    if any(each.key == f"{folder}{MANIFEST}" for each in objects):
        try:
            manifest = read_bounded(s3, bucket, f"{folder}{MANIFEST}", MAX_MANIFEST_BYTES)
        except NotFound as error:
            return Incomplete(name, str(error))
        if len(manifest) > MAX_MANIFEST_BYTES:
            return Incomplete(name, f"{MANIFEST} has over {MAX_MANIFEST_BYTES} bytes")
    return data_set_of(name, folder, objects, manifest)


def _check_etag(bucket: str, file: DataFile, answer: Any) -> None:
    if answer["ETag"].strip('"') != file.etag:
        raise NotFound(
            f"s3://{bucket}/{file.key} was replaced while the data set was being read, which makes another version of "
            "it: load that version"
        )


def _vanished(bucket: str, file: DataFile, error: Exception) -> NotFound | ServerUnavailable:
    found = unreadable(error, f"s3://{bucket}/{file.key}")
    if isinstance(found, ServerUnavailable):
        return found
    return NotFound(f"s3://{bucket}/{file.key} vanished while the data set was being read: upload it again ({error})")
