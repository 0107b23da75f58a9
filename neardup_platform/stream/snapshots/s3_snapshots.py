"""Snapshots on S3: files are named by their content, so that what two snapshots share is uploaded once.

Checkpoint of the store → **s3://{bucket}/snapshots/** → folder of a store. snapshot_manifest.py lists the objects.
Every file is compared with its SHA-256 after the upload, and again when it is downloaded.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable, SetupError
from neardup_platform.s3_client import read_bounded
from neardup_platform.stream.snapshots.snapshot_manifest import (
    PREFIX,
    Manifest,
    StoredFile,
    decode_manifest,
    encode_manifest,
    is_id,
    manifest_key,
    writing_key,
)

log = logging.getLogger(__name__)

# A line of 150 bytes for each file; a store of ten terabytes has 150,000.
MAX_MANIFEST_BYTES = 64 << 20
_PART_BYTES = 1 << 20

# Inode, bytes and time of the last change in nanoseconds: what a link shares with its file.
FileState = tuple[int, int, int]

_S3Error = (BotoCoreError, ClientError, Boto3Error)


def describe_files(folder: Path, known: dict[FileState, str] | None = None) -> tuple[StoredFile, ...]:
    """The files of a checkpoint, by name.

    Args:
        known: SHA-256 of files that were described before, which are not read again: a checkpoint links most of the
            files that the one before linked. Replaced by those of this checkpoint.
    """
    found, states = [], {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        stat = path.stat()
        state = stat.st_ino, stat.st_size, stat.st_mtime_ns
        sha256 = (known or {}).get(state)
        if sha256 is None:
            with path.open("rb") as file:
                sha256 = _digest(file)
        states[state] = sha256
        found.append(StoredFile(path.name, stat.st_size, sha256))
    if known is not None:
        known.clear()
        known.update(states)
    return tuple(found)


def put_snapshot(
    s3: Any, bucket: str, folder: Path, manifest: Manifest, check_cancelled: Callable[[], None] = lambda: None
) -> int:
    """Upload the files of a snapshot that S3 lacks, and its manifest; returns the bytes uploaded.

    The list of files is written before it is checked which exist, and they are checked again once the manifest names
    them. A deletion at the same time (s3_snapshot_retention.py) either sees the list, or its file is uploaded again.

    Args:
        folder: of the files; it must stay until this returns.
        check_cancelled: called before each file; raises to stop.

    Raises:
        ServerUnavailable: S3 does not answer, refuses, or returns other bytes.
    """
    _put(s3, bucket, writing_key(manifest.snapshot), json.dumps([file.sha256 for file in manifest.files]).encode())
    uploaded = upload_files(s3, bucket, folder, manifest.files, check_cancelled)
    put_manifest(s3, bucket, manifest)
    uploaded += upload_files(s3, bucket, folder, manifest.files, check_cancelled)
    try:
        s3.delete_object(Bucket=bucket, Key=writing_key(manifest.snapshot))
    except _S3Error as error:
        log.warning("s3://%s/%s is left over: %s", bucket, writing_key(manifest.snapshot), error)
    return uploaded


def read_writing(s3: Any, bucket: str, snapshot: str) -> set[str]:
    """The SHA-256 of the files of a snapshot that is being written.

    Raises:
        NotFound: it is not being written.
        BadArtefact: the list is damaged.
        ServerUnavailable: S3 does not answer.
    """
    key = writing_key(snapshot)
    try:
        found = json.loads(read_bounded(s3, bucket, key, MAX_MANIFEST_BYTES))
        return {str(sha256) for sha256 in found}
    except (ValueError, TypeError) as error:
        raise BadArtefact(f"s3://{bucket}/{key} cannot be read ({error})") from error


def upload_files(
    s3: Any,
    bucket: str,
    folder: Path,
    files: tuple[StoredFile, ...],
    check_cancelled: Callable[[], None] = lambda: None,
) -> int:
    """Upload the files that the bucket lacks, and compare what arrived; returns the bytes uploaded.

    Raises:
        ServerUnavailable: S3 does not answer, refuses, or returns other bytes.
    """
    uploaded = 0
    for file in {file.sha256: file for file in files}.values():
        check_cancelled()
        if _size(s3, bucket, file.key) == file.bytes:
            continue
        try:
            s3.upload_file(str(folder / file.name), bucket, file.key)
            with _body(s3, bucket, file.key) as body:
                found = _digest(body)
        except _S3Error as error:
            raise ServerUnavailable(f"writing s3://{bucket}/{file.key} failed: {error}") from error
        if found != file.sha256:
            raise ServerUnavailable(f"s3://{bucket}/{file.key} came back with SHA-256 {found}: take the snapshot again")
        uploaded += file.bytes
    return uploaded


def put_manifest(s3: Any, bucket: str, manifest: Manifest) -> None:
    """Write the manifest, which makes the snapshot exist, once all of its files do.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    key = manifest_key(manifest.snapshot)
    _put(s3, bucket, key, encode_manifest(manifest))
    if read_manifest(s3, bucket, manifest.snapshot) != manifest:
        raise ServerUnavailable(f"s3://{bucket}/{key} came back changed: take the snapshot again")


def read_manifest(s3: Any, bucket: str, snapshot: str) -> Manifest:
    """The manifest of a snapshot.

    Raises:
        BadSnapshotId: it is not an id.
        NotFound: there is no such snapshot.
        BadArtefact: it is damaged.
        ServerUnavailable: S3 does not answer.
    """
    key = manifest_key(snapshot)
    try:
        data = read_bounded(s3, bucket, key, MAX_MANIFEST_BYTES)
    except NotFound as error:
        raise NotFound(
            f"there is no snapshot {snapshot} ({error}): `neardup snapshot list` names those there are"
        ) from error
    manifest = decode_manifest(data, f"s3://{bucket}/{key}")
    if manifest.snapshot != snapshot:
        raise BadArtefact(f"s3://{bucket}/{key} describes snapshot {manifest.snapshot}: take another")
    return manifest


def list_snapshots(s3: Any, bucket: str) -> list[Manifest | str]:
    """Every snapshot, newest first; only the id where the manifest cannot be used.

    Raises:
        ServerUnavailable: S3 does not answer, or refuses; a missing bucket holds none.
    """
    found: list[Manifest | str] = []
    for snapshot in reversed(snapshot_ids(s3, bucket)):
        try:
            found.append(read_manifest(s3, bucket, snapshot))
        except NotFound:
            continue
        except BadArtefact:
            found.append(snapshot)
    return found


def download_files(
    s3: Any,
    bucket: str,
    files: tuple[StoredFile, ...],
    folder: Path,
    check_cancelled: Callable[[], None] = lambda: None,
) -> None:
    """Download the files of a snapshot into a folder and compare each with its checksum; whole files there are kept.

    Args:
        check_cancelled: called before each file; raises to stop.

    Raises:
        NotFound, BadArtefact: a file is missing or damaged.
        ServerUnavailable: S3 does not answer.
        SetupError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        check_cancelled()
        path = folder / file.name
        if is_whole(path, file):
            continue
        try:
            _download(s3, bucket, file, path)
        except OSError as error:
            raise SetupError(f"writing {path} failed: {error}; free some disk and repeat") from error


def link_files(store: Path, files: tuple[StoredFile, ...], folder: Path) -> None:
    """Link what an open store on this machine seems to hold of a snapshot's tables, so that it is not downloaded.

    `download_files` compares each with its checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = store / file.name
        # RocksDB numbers its tables once, writes them once, and deletes them at any time.
        with suppress(FileNotFoundError):
            if path.suffix == ".sst" and path.stat().st_size == file.bytes:
                os.link(path, folder / file.name)


def _download(s3: Any, bucket: str, file: StoredFile, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    # What is there may be a link to a file of a store in use.
    path.unlink(missing_ok=True)
    try:
        with _body(s3, bucket, file.key) as body, path.open("wb") as out:
            for part in _parts(body):
                digest.update(part)
                out.write(part)
                size += len(part)
                if size > file.bytes:
                    break
            out.flush()
            os.fsync(out.fileno())
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            raise ServerUnavailable(f"s3://{bucket}/{file.key}: {error}") from error
        raise NotFound(f"s3://{bucket}/{file.key}, {file.name} of the snapshot, is missing: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise ServerUnavailable(f"s3://{bucket}/{file.key}: {error}") from error
    if digest.hexdigest() != file.sha256:
        path.unlink()
        raise BadArtefact(f"s3://{bucket}/{file.key}, {file.name} of the snapshot, is damaged: use another snapshot")


def is_whole(path: Path, file: StoredFile) -> bool:
    """Whether a file on this machine is one of a snapshot: by size, then by SHA-256."""
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as opened:
        return _digest(opened) == file.sha256


def digest_of(s3: Any, bucket: str, key: str) -> str:
    """The SHA-256 of an object, read in parts.

    Raises:
        NotFound: it is gone.
        ServerUnavailable: S3 does not answer.
    """
    try:
        with _body(s3, bucket, key) as body:
            return _digest(body)
    except s3.exceptions.NoSuchKey as error:
        raise NotFound(f"s3://{bucket}/{key} is missing: {error}") from error
    except _S3Error as error:
        raise ServerUnavailable(f"s3://{bucket}/{key}: {error}") from error


def snapshot_ids(s3: Any, bucket: str) -> list[str]:
    """The ids in the bucket, oldest first; other objects are skipped.

    Raises:
        ServerUnavailable: S3 does not answer, or refuses; a missing bucket holds none.
    """
    pages = _pages(s3, Bucket=bucket, Prefix=f"{PREFIX}/", Delimiter="/")
    names = (entry["Prefix"].split("/")[1] for page in pages for entry in page.get("CommonPrefixes", ()))
    return sorted(name for name in names if is_id(name))


def whole_ids(s3: Any, bucket: str) -> list[str]:
    """The ids that have a manifest, oldest first: without one a snapshot is being written, or was deleted.

    Raises:
        ServerUnavailable: as of `snapshot_ids`.
    """
    return [each for each in snapshot_ids(s3, bucket) if _size(s3, bucket, manifest_key(each)) is not None]


def list_objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Key, bytes and time of the last change, in Unix milliseconds, of every object with a prefix.

    Raises:
        ServerUnavailable: as of `snapshot_ids`.
    """
    for page in _pages(s3, Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield entry["Key"], int(entry["Size"]), int(1_000 * entry["LastModified"].timestamp())


def _pages(s3: Any, **what: str) -> Iterator[Any]:
    try:
        yield from s3.get_paginator("list_objects_v2").paginate(**what)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchBucket":
            raise ServerUnavailable(f"listing s3://{what['Bucket']}/{what['Prefix']} failed: {error}") from error
    except BotoCoreError as error:
        raise ServerUnavailable(f"listing s3://{what['Bucket']}/{what['Prefix']} failed: {error}") from error


def _put(s3: Any, bucket: str, key: str, body: bytes) -> None:
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    except _S3Error as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def _size(s3: Any, bucket: str, key: str) -> int | None:
    """The size of an object; None where there is none."""
    try:
        return int(s3.head_object(Bucket=bucket, Key=key)["ContentLength"])
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return None
        raise ServerUnavailable(f"s3://{bucket}/{key}: {error}") from error
    except BotoCoreError as error:
        raise ServerUnavailable(f"s3://{bucket}/{key}: {error}") from error


def _body(s3: Any, bucket: str, key: str) -> Any:
    return s3.get_object(Bucket=bucket, Key=key)["Body"]


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(_PART_BYTES):
        yield part


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for part in _parts(file):
        digest.update(part)
    return digest.hexdigest()
