"""`ingest-segment`: images from a Parquet file on S3, which is how a corpus that exists gets in.

Fetched and validated in a thread; then decided in the order of its rows, by the pipeline of the stream, in parts of
`worker.max_batch_images` between steps of the stream. Each part is one commit with how far it came. Images that are
known are skipped and counted, those that are known with another vector of the same model version apart
(`conflicting`); so are those forgotten since their event time.

| argument | |
|---|---|
| `key` | of the object in the bucket of the settings; ingest/parquet_embeddings.py has its columns |
| `skip_bad` | `true`: bad rows are skipped and counted; otherwise one of them refuses the segment |
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.errors import BadArtefact
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import JoinedImage, Kind, ModelSpec
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.constraints import constraints_of
from neardup_platform.stream.control.command import (
    BadCommand,
    Finish,
    Outcome,
    check_arguments,
    flag,
    put_progress,
)
from neardup_platform.stream.reprocess.replay import joined_image
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.validation import same_vector

NAME = "ingest-segment"
_FOLDER = "segment-"
_WAIT_S = 0.02
_COUNTS = ("decided", "known", "conflicting", "forgotten")

Parts = Iterator[tuple[int, list[JoinedImage]]]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A segment that is being decided."""

    command: pb.Command
    path: Path
    rows: int
    bad: int
    parts: Parts


class IngestSegment:
    """The handler.

    Args:
        settings: resolved.
        store: the one in force.
        pipeline: the one that decides now.
        models: what embeddings must be.
        room: whether decisions may be made: what was decided before is mostly published.
    """

    def __init__(
        self,
        settings: Settings,
        store: StoreView,
        pipeline: Callable[[], Pipeline],
        models: dict[Kind, ModelSpec],
        room: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._store = store
        self._pipeline = pipeline
        self._models = models
        self._room = room
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interrupted.set()

    def _going_on(self) -> None:
        if self._interrupted.is_set():
            raise BadCommand("it was cancelled")

    def __call__(self, command: pb.Command) -> Finish:
        """The first half: fetch and validate.

        Raises:
            NeardupError: it is refused; the text says why.
        """
        # pyarrow and boto3 take a while to import, and most starts do without.
        from neardup_platform.stream.segments.parquet_segment import Segment

        arguments = check_arguments(command, {"key"}, {"skip_bad"})
        skip_bad = flag(arguments, "skip_bad")
        self._interrupted.clear()
        remove_segments(self._settings.home)
        path = self._settings.home / f"{_FOLDER}{hashlib.sha256(command.command_id.encode()).hexdigest()[:16]}.parquet"
        try:
            checksum = self._fetch(arguments["key"], path)
            segment = Segment(path, self._models, time.time_ns() // 1_000_000)
            progress = self._progress(command, checksum)
            bad = segment.check(self._going_on)
            if bad.counts and not skip_bad:
                raise BadCommand(
                    f"{bad.counts.total()} of {len(segment)} rows are bad: {bad}; skip_bad = true takes the others"
                )
        except BadArtefact as error:
            path.unlink(missing_ok=True)
            raise BadArtefact(f"s3://{self._settings.s3.bucket}/{arguments['key']}: {error}") from error
        except Exception:
            path.unlink(missing_ok=True)
            raise
        parts = segment.images(self._settings.worker.max_batch_images, progress.done)
        return self._next(_UnderWay(command, path, len(segment), bad.counts.total(), parts), progress)

    def _fetch(self, key: str, path: Path) -> bytes:
        from neardup_platform.s3_client import open_s3
        from neardup_platform.stream.segments.s3_segments import fetch_segment

        return fetch_segment(open_s3(self._settings.s3), self._settings.s3.bucket, key, path, self._going_on)

    def _progress(self, command: pb.Command, checksum: bytes) -> store_pb.CommandProgress:
        found = self._store.commands.progress(command.command_id)
        if found is None:
            return store_pb.CommandProgress(of=checksum)
        if found.of != checksum:
            raise BadCommand(
                f"it was replaced on S3 while it was being ingested, after {found.done} rows: send another command, "
                "which skips the images that are known"
            )
        return found

    def _next(self, under_way: _UnderWay, progress: store_pb.CommandProgress) -> Finish:
        """The first half of a part: read it, and wait until there is room for its decisions."""
        while not self._room():
            self._going_on()
            time.sleep(_WAIT_S)
        return partial(self._decide, under_way, progress, next(under_way.parts, None))

    def _decide(
        self, under_way: _UnderWay, progress: store_pb.CommandProgress, part: tuple[int, list[JoinedImage]] | None
    ) -> Outcome:
        if part is None:
            under_way.path.unlink(missing_ok=True)
            counts = {name: str(progress.counts[name]) for name in _COUNTS}
            return Outcome({"rows": str(under_way.rows), "bad": str(under_way.bad), **counts})
        end, images = part
        fresh, fates = self._fresh(images)
        state = self._store.state()
        now_ms, pipeline = time.time_ns() // 1_000_000, self._pipeline()
        constraints = constraints_of(Overrides(self._store.overrides.all()), self._store, pipeline.corpus)
        decided = pipeline.decide(fresh, state.sequence + 1, now_ms, constraints)
        after = store_pb.CommandProgress(done=end, of=progress.of, counts=progress.counts)
        for name in _COUNTS:
            after.counts[name] += fates[name]

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            put_progress(batch, under_way.command.command_id, after)

        return Outcome(
            {},
            write=write,
            decided=decided,
            counts={"ingested": len(fresh)},
            more=partial(self._next, under_way, after),
            abandon=partial(under_way.path.unlink, missing_ok=True),
        )

    def _fresh(self, images: list[JoinedImage]) -> tuple[list[JoinedImage], Counter[str]]:
        """The images to be decided, and how many become what; of one id the first row counts."""
        first: dict[str, JoinedImage] = {}
        fates: Counter[str] = Counter()
        fresh = []
        for image in images:
            if image is not first.setdefault(image.image_id, image):
                fates[_repeated(image, first[image.image_id])] += 1
        stored = self._store.images.find_many(list(first))
        for image, record in zip(first.values(), stored, strict=True):
            told = self._store.images.forgotten(image.image_id)
            if told is not None and image.event_time_ms <= told.upto_ms:
                fates["forgotten"] += 1
            elif record is not None:
                fates[_repeated(image, joined_image(self._store.vectors.get(record.ordinal), record))] += 1
            else:
                fresh.append(image)
        fates["decided"] = len(fresh)
        return fresh, fates


def _repeated(image: JoinedImage, there: JoinedImage) -> str:
    """Whether what is there already says the same, as `known`, or of one kind and model version something else."""
    pairs = [(image.embedding(kind), there.embedding(kind)) for kind in Kind]
    same = all(a.model_version != b.model_version or same_vector(a.vector, b.vector) for a, b in pairs)
    return "known" if same else "conflicting"


def remove_segments(home: Path) -> None:
    """Remove what an attempt that was killed left behind."""
    for left in home.glob(f"{_FOLDER}*.parquet"):
        left.unlink(missing_ok=True)
