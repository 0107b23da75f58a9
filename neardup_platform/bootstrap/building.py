"""Builds the files of a load, in two steps: the scan, and with the numbers that it needs, everything else.

    data set ──scan──▶ images, rest ──build──▶ vector rows, tables, segments, files of the rest, manifest

The scan depends on the store; its result is kept in the folder, so a repeated order divides the images as the first one
did. What is built depends on that result and on the reserved numbers alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from neardup_platform.bootstrap.bulk_files import IMAGES, MANIFEST, BulkFiles, write_manifest
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.bootstrap.parquet_vector_pass import compressed_share
from neardup_platform.bootstrap.room import check_room
from neardup_platform.bootstrap.s3_data_sets import sources
from neardup_platform.bootstrap.scanning import REST, scan
from neardup_platform.bootstrap.written_files import WrittenFiles
from neardup_platform.errors import BadArtefact, PermanentError, SetupError
from neardup_platform.files import read_sealed, write_sealed
from neardup_platform.progress import Progress
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.store.view import open_checkpoint
from neardup_platform.terms.opening import load_search_space

_SCANNED = "scanned.json"
# Which files there are; parts that an earlier release made serve only if this is the same.
_FILES = 2


class Building:
    """A load under construction.

    Args:
        settings: of the worker.
        order: what to load.
        files: of the data set; None: those on S3.
        now_ms: the clock, Unix milliseconds.
        progress: called between chunks of rows, by any thread; what it raises ends the call.
    """

    def __init__(
        self,
        settings: Settings,
        order: LoadOrder,
        now_ms: int,
        progress: Progress,
        files: Sequence[Source] | None = None,
    ) -> None:
        self._settings, self._order, self._now_ms, self._progress = settings, order, now_ms, progress
        self._sources = files
        self._scanned: Scanned | None = None

    def scan(self) -> Scanned:
        """See `RemoteBuild.scan`."""
        order, folder = self._order, self._order.folder
        folder.mkdir(parents=True, exist_ok=True)
        found = self._kept()
        if found is None:
            for name in (_SCANNED, IMAGES, REST, MANIFEST):
                (folder / name).unlink(missing_ok=True)
            store = open_checkpoint(order.checkpoint)
            try:
                scanned = scan(
                    self._files(),
                    order.models,
                    store,
                    folder,
                    now_ms=self._now_ms,
                    skip_bad=order.skip_bad,
                    max_representatives=self._settings.terms.max_representatives,
                    progress=self._progress,
                )
            finally:
                store.close()
            if order.skip_bad or not scanned.bad:
                check_room(folder, order.models, scanned.bulk, scanned.rest, compressed_share(self._files()))
                write_sealed(folder / _SCANNED, {"of": self._key(), "scanned": asdict(scanned)})
        else:
            scanned = Scanned(**{**found, "examples": tuple(found["examples"])})
        self._scanned = scanned
        # Of ids and heads as they were read, which take gigabytes and are not needed any more.
        pa.default_memory_pool().release_unused()
        return scanned

    def build(self, reservation: Reservation) -> BulkFiles:
        """See `RemoteBuild.build`."""
        order, scanned = self._order, self._scanned
        if scanned is None:
            raise PermanentError("the data set has to be scanned first")
        if scanned.bad and not order.skip_bad:
            raise PermanentError(f"{sum(scanned.bad.values())} rows of {order.data_set.name!r} are bad")
        space = load_search_space(self._settings)
        written = WrittenFiles(
            order.folder,
            self._settings.vectors_path,
            order.models,
            space,
            order.command_id,
            reservation,
            self._progress,
            made_of=json.dumps([self._key(), asdict(reservation), space.index_version, _FILES]),
        )
        try:
            written.write(self._files(), scanned.rows)
        except OSError as error:
            raise SetupError(
                f"building the load in {order.folder} failed: {error}; free some disk under NEARDUP_HOME and send the "
                "command again"
            ) from error
        files = written.manifest(f"{order.data_set.name}@{order.data_set.version}", scanned.checkpoint_ordinals)
        write_manifest(order.folder, files)
        return files

    def _files(self) -> Sequence[Source]:
        if self._sources is None:
            s3 = self._settings.s3
            self._sources = sources(open_s3(s3), s3.bucket, self._order.data_set)
        return self._sources

    def _key(self) -> str:
        """What the division depends on, except the store."""
        order, terms = self._order, self._settings.terms
        models = {kind.value: asdict(model) for kind, model in order.models.items()}
        made_of = [order.data_set.version, order.command_id, models, order.skip_bad, terms.max_representatives]
        return json.dumps(made_of)

    def _kept(self) -> Mapping[str, Any] | None:
        """The result of an earlier scan for the same order."""
        try:
            found = read_sealed(self._order.folder / _SCANNED)
        except ValueError as error:
            raise BadArtefact(f"{self._order.folder / _SCANNED}: {error}: cancel the load, send it again") from error
        return found["scanned"] if found is not None and found["of"] == self._key() else None
