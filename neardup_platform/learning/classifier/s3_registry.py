"""The registry of classifiers on S3: published once, never changed, fetched completely or not at all.

Training → folder → **s3://{bucket}/classifiers/{version}/** → NEARDUP_HOME/classifiers/{version} → worker and API.

    card.json     identity, required embeddings, thresholds, metrics, checksums of itself and the other files
    model.keras   the network
    reference.npy   images that the second look compares with, if the card has a second look
    training_pictures.bin   fingerprints of the training pictures, if the card names their checksum
    training_evidence.npz   pairs that the second look was fitted to, likewise
    network_probe.npy   what TensorFlow answers to some features, likewise

The card is put last, and no object is ever overwritten: a version without a card is not published. Everything read is
bounded in size, and verified before it gets its name on this machine.
"""

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.files import publish_once
from neardup_platform.learning.classifier.promotion import check_usable
from neardup_platform.s3_client import ensure_bucket, open_s3, read_bounded
from neardup_platform.scoring.card import (
    CARD_FILE,
    EVIDENCE_FILE,
    NETWORK_FILE,
    PICTURES_FILE,
    PROBE_FILE,
    REFERENCE_FILE,
    Card,
    check_file,
    parse_card,
    read_card,
)
from neardup_platform.settings import S3Settings

PREFIX = "classifiers"
# The shipped classifier has 70 KB, 100 KB, 1 MB, 15 KB and 4 MB, plus 8 bytes for each training picture.
MAX_BYTES = {
    CARD_FILE: 1 << 20,
    NETWORK_FILE: 64 << 20,
    REFERENCE_FILE: 64 << 20,
    PICTURES_FILE: 64 << 20,
    EVIDENCE_FILE: 64 << 20,
    PROBE_FILE: 64 << 20,
}
_VERSION = re.compile("[0-9a-f]{12}")
# A killed download leaves its folder; no download takes this long.
_ABANDONED_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Published:
    """A version in the registry.

    Attributes:
        published_ms: Unix milliseconds.
        card: None if it cannot be read; `problem` says why.
    """

    version: str
    uri: str
    published_ms: int
    card: Card | None
    problem: str = ""


def check_version(version: str) -> str:
    """Return the version if it is a valid folder name.

    Raises:
        BadArtefact: it is not 12 hex digits.
    """
    if not _VERSION.fullmatch(version):
        raise BadArtefact(f"{version[:40]!r} is not a classifier version: expected 12 hex digits")
    return version


def publish(s3: Any, settings: S3Settings, folder: Path) -> tuple[Card, bool]:
    """Put a classifier into the registry.

    Args:
        s3: a boto3 client; the bucket is created if it is missing.
        folder: written by `neardup train`.

    Returns:
        Its card, and whether it is new; the same bytes may be published again.

    Raises:
        BadArtefact: it is damaged, unmeasured or too large, or the version exists with other bytes.
        ServerUnavailable: S3 does not answer or refuses; the version is then not published.
    """
    card = read_card(folder)
    check_usable(card)
    ensure_bucket(s3, settings)
    check_version(card.version)
    _check_files(card, folder)
    files = [folder / name for name in (*card.files, CARD_FILE)]
    new = [_put_once(s3, settings.bucket, card.version, file) for file in files]
    return card, any(new)


def is_published(s3: Any, bucket: str, version: str) -> bool:
    """Whether the registry has this version.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    try:
        read_bounded(s3, bucket, f"{PREFIX}/{check_version(version)}/{CARD_FILE}", 1)
    except NotFound:
        return False
    return True


def list_published(s3: Any, bucket: str) -> list[Published]:
    """Every version in the registry, newest first.

    Raises:
        ServerUnavailable: S3 does not answer or refuses. A missing bucket counts as empty.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{PREFIX}/")
        items = [item for page in pages for item in page.get("Contents", ())]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            return []
        raise ServerUnavailable(f"listing s3://{bucket}/{PREFIX}/ failed: {error}") from error
    except BotoCoreError as error:
        raise ServerUnavailable(f"listing s3://{bucket}/{PREFIX}/ failed: {error}") from error
    found = []
    for item in items:
        version, _, name = item["Key"].removeprefix(f"{PREFIX}/").partition("/")
        if name == CARD_FILE and _VERSION.fullmatch(version):
            found.append(_published(s3, bucket, version, round(item["LastModified"].timestamp() * 1_000)))
    return sorted(found, key=lambda entry: (entry.published_ms, entry.version), reverse=True)


def fetch(settings: S3Settings, version: str, home: Path) -> Path:
    """The folder of a published classifier on this machine, downloaded if it is missing or damaged.

    Safe to call from several processes at once: a folder gets its name only when it is complete and verified.

    Raises:
        BadArtefact: the version is invalid, or what is published under it is damaged.
        NotFound: nothing is published under it.
        ServerUnavailable: S3 does not answer.
    """
    folder = home / PREFIX / check_version(version)
    if is_complete(folder, version):
        return folder
    _remove_abandoned(folder.parent)
    fresh = folder.parent / f".{version}.{os.getpid()}.{uuid4().hex}"
    fresh.mkdir(parents=True)
    try:
        _download(open_s3(settings), settings.bucket, version, fresh)
        card = read_card(fresh)
        if card.version != version:
            raise BadArtefact(
                f"s3://{settings.bucket}/{PREFIX}/{version} holds classifier {card.version}: publish it again"
            )
        publish_once(fresh, folder, lambda found: is_complete(found, version))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def is_complete(folder: Path, version: str) -> bool:
    """Whether a folder contains this version, undamaged."""
    try:
        return read_card(folder).version == version
    except BadArtefact:
        return False


def _download(s3: Any, bucket: str, version: str, folder: Path) -> None:
    content = _read(s3, bucket, version, CARD_FILE)
    (folder / CARD_FILE).write_bytes(content)
    card = parse_card(content, f"s3://{bucket}/{PREFIX}/{version}/{CARD_FILE}")
    for name in card.files:
        (folder / name).write_bytes(_read(s3, bucket, version, name))
    _check_files(card, folder)


def _read(s3: Any, bucket: str, version: str, name: str) -> bytes:
    key, most = f"{PREFIX}/{version}/{name}", MAX_BYTES[name]
    try:
        data = read_bounded(s3, bucket, key, most)
    except NotFound as error:
        raise NotFound(
            f"classifier {version} is not in the registry ({error}): `neardup classifier list` lists the available ones"
        ) from error
    if len(data) > most:
        raise BadArtefact(f"s3://{bucket}/{key} is larger than {most >> 20} MiB: it is not one of our classifiers")
    return data


def _check_files(card: Card, folder: Path) -> None:
    for name, sha256 in card.files.items():
        check_file(folder, name, sha256)


def _put_once(s3: Any, bucket: str, version: str, file: Path) -> bool:
    """Put an object unless it exists; returns whether it is new.

    Raises:
        BadArtefact: an object with other bytes exists.
    """
    key, data, most = f"{PREFIX}/{version}/{file.name}", file.read_bytes(), MAX_BYTES[file.name]
    if len(data) > most:
        raise BadArtefact(f"{file} has {len(data)} bytes, the limit is {most}")
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
        if read_bounded(s3, bucket, key, most) != data:
            raise BadArtefact(
                f"s3://{bucket}/{key} exists with other bytes, and a published version never changes: use that one, "
                "or train another"
            ) from error
        return False
    except BotoCoreError as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
    return True


def _published(s3: Any, bucket: str, version: str, published_ms: int) -> Published:
    key = f"{PREFIX}/{version}/{CARD_FILE}"
    uri = f"s3://{bucket}/{key}"
    try:
        card = parse_card(read_bounded(s3, bucket, key, MAX_BYTES[CARD_FILE]), uri)
    except (BadArtefact, NotFound) as error:
        return Published(version, uri, published_ms, None, str(error))
    return Published(version, uri, published_ms, card)


def _remove_abandoned(folder: Path) -> None:
    for left in folder.glob(".*.*.*"):
        if left.stat().st_mtime < time.time() - _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
