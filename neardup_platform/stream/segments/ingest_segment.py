"""`ingest-segment`: decides the images of a Parquet file on S3, which is how an existing corpus gets in.

The file is fetched and validated in a thread. Its images are then decided in the order of the rows, in stages of
`worker.max_batch_images` among the steps of the stream, and like those: several are compared at once, and each is
one commit, which also records how far the command has come. Known images are skipped and counted; those known with
another vector of the same model version are counted as conflicting, and those forgotten since their event time as
forgotten.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from neardup_platform.clock import Clock
from neardup_platform.errors import BadArtefact, BadCommand
from neardup_platform.records import JoinedImage, Kind, ModelSpec
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import put_progress
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Done, Finish, Outcome, Stage
from neardup_platform.stream.segments.chunks_ahead import Chunk, ChunksAhead
from neardup_platform.stream.segments.fresh_images import fresh_images
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import IngestSegmentArguments

_FOLDER = "segment-"
_WAIT_S = 0.02
_COUNTS = ("decided", "known", "conflicting", "forgotten")


@dataclass(frozen=True, slots=True)
class _Ingest:
    """A segment that is being decided.

    Attributes:
        chunks: images of each stage, with the row that the stage ends at.
    """

    command: pb.Command
    path: Path
    rows: int
    bad: int
    chunks: ChunksAhead

    def remove(self) -> None:
        self.chunks.close()
        self.path.unlink(missing_ok=True)


class IngestSegment:
    """The handler.

    Args:
        models: the models that embeddings must be of.
        has_room: whether more may be decided: most of what was decided before is published.
        in_flight: the embeddings of an image that is being decided.
    """

    def __init__(
        self,
        settings: Settings,
        store: StoreView,
        models: Mapping[Kind, ModelSpec],
        has_room: Callable[[], bool],
        clock: Clock,
        in_flight: Callable[[str], JoinedImage | None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._models = models
        self._has_room = has_room
        self._clock = clock
        self._in_flight = in_flight
        self._interruption = Interruption()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()

    def __call__(self, command: pb.Command, arguments: IngestSegmentArguments) -> Finish:
        """Fetch and validate the file; see `Handler`."""
        # pyarrow and boto3 take a while to import, and most starts do without.
        from neardup_platform.stream.segments.parquet_segment import Segment

        self._interruption.clear()
        remove_segments(self._settings.home)
        path = self._settings.home / f"{_FOLDER}{hashlib.sha256(command.command_id.encode()).hexdigest()[:16]}.parquet"
        try:
            checksum = self._fetch(arguments.key, path)
            segment = Segment(path, self._models, self._clock.now_ms())
            progress = self._progress(command, checksum)
            bad = segment.check(self._interruption.check)
            if bad.counts and not arguments.skip_bad:
                raise BadCommand(
                    f"{bad.counts.total()} of {len(segment)} rows are bad: {bad}; skip_bad = true takes the others"
                )
        except BadArtefact as error:
            path.unlink(missing_ok=True)
            raise BadArtefact(f"s3://{self._settings.s3.bucket}/{arguments.key}: {error}") from error
        except Exception:
            path.unlink(missing_ok=True)
            raise
        chunks = ChunksAhead(segment.images(self._settings.worker.max_batch_images, progress.done))
        ingest = _Ingest(command, path, len(segment), bad.counts.total(), chunks)
        try:
            return self._read_chunk(ingest, progress)
        except Exception:
            ingest.remove()
            raise

    def _fetch(self, key: str, path: Path) -> bytes:
        from neardup_platform.s3_client import open_s3
        from neardup_platform.stream.segments.s3_segments import fetch_segment

        return fetch_segment(open_s3(self._settings.s3), self._settings.s3.bucket, key, path, self._interruption.check)

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

    def _read_chunk(self, ingest: _Ingest, progress: store_pb.CommandProgress) -> Finish:
        """Prepare a stage: wait until there is room for its decisions, and read its images."""
        while not self._has_room():
            self._interruption.check()
            self._interruption.wait(_WAIT_S)
        return partial(self._decide, ingest, progress, ingest.chunks.take())

    def _decide(self, ingest: _Ingest, progress: store_pb.CommandProgress, chunk: Chunk | None) -> Outcome:
        if chunk is None:
            ingest.remove()
            counts = {name: str(progress.counts[name]) for name in _COUNTS}
            return Done({"rows": str(ingest.rows), "bad": str(ingest.bad), **counts})
        end, images = chunk
        fresh, fates = fresh_images(self._store, images, self._in_flight)
        after = store_pb.CommandProgress(done=end, of=progress.of, counts=progress.counts)
        for name in _COUNTS:
            after.counts[name] += fates[name]

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            put_progress(batch, ingest.command.command_id, after)

        return Stage(
            partial(self._read_chunk, ingest, after),
            write,
            images=fresh,
            counts={"ingested": len(fresh)},
            abandon=ingest.remove,
        )


def remove_segments(home: Path) -> None:
    """Remove the files of an attempt that was killed."""
    for left in home.glob(f"{_FOLDER}*.parquet"):
        left.unlink(missing_ok=True)
