"""The manifest of a snapshot: its files with their checksums, and the state that they hold. Pure.

| object | content |
|---|---|
| `snapshots/{id}/manifest.json` | this list, written last: a snapshot without one does not exist |
| `snapshots/{id}/writing.json` | the SHA-256 of its files, written first, removed last: protects them from deletion |
| `snapshots/files/{sha256}` | the files of all snapshots; equal ones are stored once |
| `snapshots/trash/{sha256}` | files that are being deleted, for moments |
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from neardup_platform.errors import BadArtefact, PermanentError
from neardup_platform.wire import neardup_pb2 as pb

PREFIX = "snapshots"
FILES_PREFIX = f"{PREFIX}/files/"
TRASH_PREFIX = f"{PREFIX}/trash/"
FORMAT = 1
_ID = re.compile("[0-9]{13}-[0-9a-f]{8}")
# Names that RocksDB gives its files.
_NAME = re.compile("[A-Za-z0-9._-]{1,100}")
_SHA256 = re.compile("[0-9a-f]{64}")


class BadSnapshotId(PermanentError):
    """A text that is not the id of a snapshot."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a snapshot: its name in the store's folder, its size, and the SHA-256 that names it in the bucket."""

    name: str
    bytes: int
    sha256: str

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return f"{FILES_PREFIX}{self.sha256}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot.

    Attributes:
        snapshot: its id; ids sort by time.
        store_format: format of the store.
        sequence: of the last decision in it.
        digest: the state digest, hex.
        positions: next offset to read, by `topic[partition]`.
        classifier_version: the active classifier.
        promoted_version: the last promoted one; empty where there was none.
        settings: fingerprint of the settings that affect decisions.
        scheduled: whether a schedule took it, which decides how long it is kept.
    """

    snapshot: str
    taken_ms: int
    command_id: str
    issued_by: str
    store_format: int
    store_id: str
    images: int
    clusters: int
    sequence: int
    digest: str
    positions: Mapping[str, int]
    terms_version: str
    classifier_version: str
    promoted_version: str
    settings: str
    files: tuple[StoredFile, ...]
    scheduled: bool = False

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)


def snapshot_id(command: pb.Command) -> str:
    """The id of the snapshot that a command makes, the same at every attempt: time of issue, and a hash."""
    return f"{command.issued_ms:013d}-{sha256(command.command_id.encode()).hexdigest()[:8]}"


def check_id(snapshot: str) -> str:
    """Return the id, if it may be part of a key.

    Raises:
        BadSnapshotId: it is not an id.
    """
    if not _ID.fullmatch(snapshot):
        raise BadSnapshotId(
            f"{snapshot[:40]!r} is not a snapshot: an id is like 1700000000000-0123abcd (`neardup snapshot list`)"
        )
    return snapshot


def is_id(name: str) -> bool:
    """Whether a name has the form of a snapshot id."""
    return _ID.fullmatch(name) is not None


def is_file_name(name: str) -> bool:
    """Whether a name has the form of a file in the bucket: a SHA-256."""
    return _SHA256.fullmatch(name) is not None


def snapshot_prefix(snapshot: str) -> str:
    """The prefix of the objects that belong to one snapshot alone."""
    return f"{PREFIX}/{check_id(snapshot)}/"


def manifest_key(snapshot: str) -> str:
    """The key of the manifest."""
    return f"{snapshot_prefix(snapshot)}manifest.json"


def writing_key(snapshot: str) -> str:
    """The key of the list of files of a snapshot that is being written."""
    return f"{snapshot_prefix(snapshot)}writing.json"


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest as JSON with its checksum."""
    described = asdict(manifest)
    if not manifest.scheduled:
        # Earlier versions know no such name.
        del described["scheduled"]
    content = json.dumps({"format": FORMAT, **described}, sort_keys=True)
    return json.dumps({"sha256": sha256(content.encode()).hexdigest(), "content": content}).encode()


def decode_manifest(data: bytes, place: str) -> Manifest:
    """Decode what `encode_manifest` wrote.

    Raises:
        BadArtefact: it is damaged, or has another format.
    """
    try:
        outer = json.loads(data)
        if sha256(outer["content"].encode()).hexdigest() != outer["sha256"]:
            raise ValueError("its checksum does not match its content")
        raw: dict[str, Any] = json.loads(outer["content"])
        if raw.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}, which this version reads")
        files = tuple(_checked(StoredFile(**file)) for file in raw.pop("files"))
        return Manifest(**raw, files=files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArtefact(f"the manifest {place} cannot be used ({error}): take another snapshot") from error


def _checked(file: StoredFile) -> StoredFile:
    if not (_NAME.fullmatch(file.name) and _SHA256.fullmatch(file.sha256) and file.bytes >= 0):
        raise ValueError(f"{file.name[:40]!r} ({file.bytes} bytes, SHA-256 {file.sha256[:70]!r}) is not valid")
    return file
