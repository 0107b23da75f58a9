"""`neardup doctor`: one check per line; each failure says what to do about it."""

import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from kafka.errors import KafkaError

from neardup_platform.clock import SystemClock
from neardup_platform.errors import BadArtefact, InvariantBroken, NeardupError, NotFound, ServerUnavailable
from neardup_platform.image_table.checkpoint import read_checkpoint, read_columns
from neardup_platform.image_table.mmap_ids import FollowedIds
from neardup_platform.kafka.codecs import check_codecs
from neardup_platform.kafka.topics import check_even, ensure_topics
from neardup_platform.learning.classifier.keras_active_classifier import load_active_classifier
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.compact import pack
from neardup_platform.scoring.json_vector_manifest import Manifest
from neardup_platform.scoring.json_vector_manifest import read_manifest as read_vector_manifest
from neardup_platform.servers.endpoints import needs_kafka, resolve
from neardup_platform.servers.kafka_jars import find_java
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import listed_under
from neardup_platform.store.reserved import reserved_by_load
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.survey import Survey
from neardup_platform.store.swap import complete_swap
from neardup_platform.store.writer import Store
from neardup_platform.stream.repair import Repaired, repair
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.terms.json_manifest import read_manifest
from neardup_platform.terms.opening import load_search_space, open_index

# Below this RocksDB and Kafka may soon fail to write.
MIN_FREE_BYTES = 2 << 30
# Images whose record, cluster, membership, decision and vectors are compared with each other.
SAMPLE_IMAGES = 1_000
# Most lines of damage that are printed.
SHOWN = 20
_REBUILT = "the worker repairs it at its next start: `neardup pause`, then `neardup resume`"


@dataclass(frozen=True, slots=True)
class Check:
    """Outcome of one check."""

    name: str
    ok: bool
    detail: str
    damage: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The check as JSON-ready values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{'ok' if self.ok else 'FAILED':>6}  {self.name}: {self.detail}", *self.damage[:SHOWN]]
        more = len(self.damage) - SHOWN
        return "\n        ".join([*lines, *([f"and {more} more, see --json"] if more > 0 else [])])


class Damaged(InvariantBroken):
    """Tables contradict each other; each line of `damage` says what is wrong and how it would be repaired."""

    def __init__(self, message: str, damage: tuple[str, ...]) -> None:
        super().__init__(message)
        self.damage = damage


def examine(settings: Settings) -> list[Check]:
    """Run every check, also after one has failed."""
    return [_run(name, check, settings) for name, check in _CHECKS.items()]


def _run(name: str, check: Callable[[Settings], str], settings: Settings) -> Check:
    try:
        return Check(name, True, check(settings))
    except Damaged as error:
        return Check(name, False, str(error), error.damage)
    except (NeardupError, KafkaError, OSError) as error:
        return Check(name, False, " ".join(str(error).split()))


def _versions(_: Settings) -> str:
    names = ("dagster", "tensorflow-cpu", "kafka-python", "rocksdict", "numba")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def _java(settings: Settings) -> str:
    if not needs_kafka(settings):
        return "not needed: kafka.bootstrap is set"
    return find_java()


def _disk(settings: Settings) -> str:
    place = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        raise OSError(f"{free / 1e9:.1f} GB free under {place}: free some space, or move NEARDUP_HOME")
    return f"{free / 1e9:.0f} GB free under {place}"


def _kafka(settings: Settings) -> str:
    resolved = resolve(settings)
    ensure_topics(resolved.kafka, timeout_s=5)
    check_even(resolved.kafka)
    return f"{resolved.kafka.bootstrap} answers, all topics exist"


def _codecs(_: Settings) -> str:
    return check_codecs()


def _s3(settings: Settings) -> str:
    resolved = resolve(settings)
    ensure_bucket(open_s3(resolved.s3), resolved.s3)
    return f"{resolved.s3.endpoint} answers, bucket {resolved.s3.bucket} exists"


def _models(settings: Settings) -> str:
    promoted = ""
    if Path(settings.store_path).exists():
        with _reading(settings) as reader:
            promoted = reader.state().classifier_version
    space, classifier = (
        load_term_space(settings.terms.space),
        load_active_classifier(_with_s3(settings, promoted), promoted),
    )
    return f"terms {space.version}, classifier {classifier.version}{' as promoted' if promoted else ''}"


def _with_s3(settings: Settings, promoted: str) -> Settings:
    """Settings with the address of S3 if a promoted classifier may have to be fetched from it."""
    return resolve(settings) if promoted else settings


def _store(settings: Settings) -> str:
    if not Path(settings.store_path).exists():
        return "empty: no worker has run yet"
    with _reading(settings) as reader:
        checked = sum(1 for _ in _consistent_sample(reader))
        state = reader.state()
    return f"{state.images} images in {state.clusters} clusters, {checked} compared in every table"


def _clusters(settings: Settings) -> str:
    """Compare every record, edge and cluster, as of one moment."""
    if not Path(settings.store_path).exists():
        return "empty: no worker has run yet"
    with _reading(settings) as reader:
        found = reader.stored_format()
        if found != layout.FORMAT:
            return f"not compared: the worker migrates the store from format {found} when it starts"
        survey = Survey(reader)
    damage = (*(finding.what for finding in survey.findings), *survey.beyond_repair)
    if damage:
        raise Damaged(
            f"{len(damage)} contradictions among {survey.images} images: stop the worker (`neardup pause`), repair "
            "them (`neardup doctor --repair`), start it again (`neardup resume`)",
            damage,
        )
    return f"{survey.images} images in {survey.clusters} clusters agree in every table"


def repair_clusters(settings: Settings) -> Repaired:
    """Repair what `clusters` finds.

    Raises:
        HomeInUse: the worker is running.
        NotFound: there is no store.
    """
    path = Path(settings.store_path)
    complete_swap(path)
    if not path.exists():
        raise NotFound(f"there is no store at {path}: no worker has run yet")
    with closing(Store(path)) as store:
        return repair(store, SystemClock().now_ms())


def _index(settings: Settings) -> str:
    """Read every byte of the term index; the worker may seal and merge meanwhile."""
    if not Path(settings.store_path).exists():
        return "empty: no worker has run yet"
    manifest = read_manifest(settings.index_path)
    with _reading(settings) as reader:
        if manifest is None:
            return f"no segments yet of the {reader.state().images} images of the store: the worker creates them"
        source = reader.state().store_id
        if manifest.source != source:
            raise BadArtefact(f"index {settings.index_path} belongs to another store; {_REBUILT}")
        space = load_search_space(settings)
        with closing(open_index(settings.index_path, space, settings.terms, source, writable=False)) as index:
            if index.damaged:
                raise BadArtefact(f"{'; '.join(index.damaged)}: {_REBUILT}")
            # The store is read last, so everything sealed has been committed.
            reader.refresh()
            held, stored = len(index), reader.state().ordinals
            if held > stored:
                raise BadArtefact(
                    f"index {settings.index_path} covers {held} ordinals, the store has {stored}; {_REBUILT}"
                )
            metrics = index.metrics()
    return f"{metrics['index_images']} images in {metrics['index_segments']} segments, checksums correct"


def _vectors(settings: Settings) -> str:
    """Compare a sample of the vector files with the store; the worker may append meanwhile."""
    folder = settings.vectors_path
    if not Path(settings.store_path).exists():
        return "empty: no worker has run yet"
    manifest = read_vector_manifest(folder)
    # The store is read after the files, so everything synced has been written.
    with _reading(settings) as reader:
        state = reader.state()
        if manifest is None:
            return f"no files yet for the {state.images} images of the store: the worker creates them"
        if manifest.store_id != state.store_id:
            raise BadArtefact(f"vectors {folder} belong to another store; {_REBUILT}")
        rows, reserved = min(manifest.rows, state.ordinals), reserved_by_load(state)
        ordinals = range(0, rows, max(1, rows // SAMPLE_IMAGES))
        with ExitStack() as opened:
            files = [opened.enter_context(path.open("rb")) for path in manifest.paths(folder)]
            for ordinal in ordinals:
                record = reader.vectors.find(ordinal)
                if record is None and ordinal in reserved:
                    continue  # A load in progress writes rows there.
                record = record or store_pb.VectorRecord()
                parts = zip(files, _rows_of(record, manifest), manifest.row_bytes, strict=True)
                for file, expected, row_bytes in parts:
                    file.seek(ordinal * row_bytes)
                    if file.read(row_bytes) != expected:
                        raise BadArtefact(
                            f"{file.name} has another vector for image {ordinal} than the store: `neardup pause`, "
                            f"delete {folder}, then `neardup resume` rebuilds it; check the disk"
                        )
    return f"{rows} images synced, {len(ordinals)} compared with the store"


def _rows_of(record: store_pb.VectorRecord, manifest: Manifest) -> list[bytes]:
    """Return the rows of an image by file, zeros for none."""
    halves = [stored or bytes(2 * dim) for stored, dim in zip((record.lsh, record.pair), manifest.dims, strict=True)]
    lsh, pair = (np.frombuffer(half, "<f2")[None] for half in halves)
    return [halves[0], pack(lsh, pair, manifest.layout).tobytes()][: len(manifest.row_bytes)]


def _ids(settings: Settings) -> str:
    """Compare a sample of the ids on disk with the store; the worker may append meanwhile."""
    folder = settings.vectors_path
    if not Path(settings.store_path).exists():
        return "empty: no worker has run yet"
    found = read_checkpoint(folder)
    if found is None:
        return "no checkpoint yet: the worker makes one when it starts"
    read_columns(folder, found)
    with _reading(settings) as reader:
        if found.store_id != reader.state().store_id:
            raise BadArtefact(f"the ids in {folder} belong to another store; {_REBUILT}")
        ids = FollowedIds(folder, found.store_id)
        ordinals = range(0, found.ordinals, max(1, found.ordinals // SAMPLE_IMAGES))
        for ordinal in ordinals:
            record = reader.vectors.find(ordinal)
            try:
                ids.check(ordinal, [record.image_id] if record else [])
            except (ServerUnavailable, UnicodeDecodeError) as error:
                raise BadArtefact(
                    f"{folder} has another id for image {ordinal} than the store: `neardup pause`, delete {folder}, "
                    "then `neardup resume` rebuilds it; check the disk"
                ) from error
    return f"{found.ordinals} in the checkpoint of commit {found.commit}, {len(ordinals)} compared with the store"


@contextmanager
def _reading(settings: Settings) -> Iterator[SecondaryStore]:
    with (
        TemporaryDirectory(prefix="neardup-doctor-") as scratch,
        closing(SecondaryStore(settings.store_path, Path(scratch))) as reader,
    ):
        yield reader


def _consistent_sample(reader: SecondaryStore) -> Iterator[str]:
    """Yield images whose tables agree, spread over the store; skips ordinals without an image.

    Raises:
        InvariantBroken: two tables contradict each other.
    """
    ordinals = reader.state().ordinals
    for ordinal in range(0, ordinals, max(1, ordinals // SAMPLE_IMAGES)):
        stored = reader.vectors.find(ordinal)
        if stored is None:
            continue
        image_id = stored.image_id
        record = reader.images.find(image_id)
        if record is None or record.ordinal != ordinal:
            raise InvariantBroken(f"vectors {ordinal} belong to {image_id!r}, whose record says otherwise")
        reader.clusters.get(record.head)
        reader.history.current(image_id)
        before = listed_under(record) - 1
        if reader.members.page(record.head, 1, before).image_ids != (image_id,):
            raise InvariantBroken(f"{image_id!r} is not among the members of its head {record.head!r}")
        yield image_id


_CHECKS: dict[str, Callable[[Settings], str]] = {
    "versions": _versions,
    "java": _java,
    "disk": _disk,
    "kafka": _kafka,
    "codecs": _codecs,
    "s3": _s3,
    "models": _models,
    "store": _store,
    "clusters": _clusters,
    "index": _index,
    "vectors": _vectors,
    "ids": _ids,
}
