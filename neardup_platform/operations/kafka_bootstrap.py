"""Loads a data set: an existing corpus on S3, through the worker, while the stream runs.

Data set → **check → images with a head: command `load`; the others: segments, one command each; unpaired embeddings:
messages** → worker.

Nothing is loaded before every row that this program reads is checked. What is done is recorded on S3
(`bootstrap/s3_progress.py`), and commands have ids that follow from the version: a repeated run continues where the
last one was, on any machine, and the worker answers a command that it has carried out with its first result.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.bootstrap.arrow_segments import SegmentFiles
from neardup_platform.bootstrap.data_set import DataSet
from neardup_platform.bootstrap.elsewhere import Elsewhere, from_values
from neardup_platform.bootstrap.parquet_rows import Rows, read_rows
from neardup_platform.bootstrap.parquet_vectors import found_in_vectors, read_vectors
from neardup_platform.bootstrap.report import CheckReport, bad_rows_of, read_report, report_of
from neardup_platform.bootstrap.row_checks import Mask, binary
from neardup_platform.bootstrap.row_fates import Fate, Fates, fates_of
from neardup_platform.bootstrap.s3_data_sets import find_data_set, sources
from neardup_platform.bootstrap.s3_progress import LoadFolder, LoadProgress
from neardup_platform.clock import SystemClock
from neardup_platform.counted import counted
from neardup_platform.errors import BadArtefact, BadCommand, ServerUnavailable, SetupError
from neardup_platform.ingest.kafka_sender import Sender
from neardup_platform.ingest.parquet_columns import integers, pdq
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.operations.kafka_carry_out import Issuer, Report, call_off, carry_out
from neardup_platform.records import Embedding, Kind
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.active_models import active_models
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import CommandArguments, IngestSegmentArguments, LoadArguments

LOAD = "load"
# Between two lines about the rows read.
_REPORT_S = 10.0
_COUNTED = ("decided", "loaded", "known", "conflicting", "forgotten", "elsewhere")


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What came of a data set.

    Attributes:
        name, version: of the data set.
        check: of its rows.
        report_uri: the report on S3.
        bad_rows_uri: every bad row on S3; empty where there is none.
        uri: of the folder of the data set.
        loaded: what the worker did, by name: images `decided` and `loaded`, and those not taken, `known`,
            `conflicting` and `forgotten`; `published` unpaired embeddings; `skipped` rows, whose vectors are bad or
            whose heads the worker does not know; `elsewhere`, the known and conflicting images that are in another
            cluster than given. None of a check.
        already: whether an earlier run had loaded this version.
        elsewhere: the first of these images.
    """

    name: str
    version: str
    check: CheckReport
    report_uri: str
    bad_rows_uri: str
    uri: str
    loaded: Mapping[str, int] | None
    already: bool = False
    elsewhere: tuple[Elsewhere, ...] = ()

    def flat(self) -> dict[str, Any]:
        """As JSON-ready values."""
        head = {"name": self.name, "version": self.version, "already": self.already, "loaded": self.loaded}
        elsewhere = [asdict(each) for each in self.elsewhere]
        report = {"report": self.report_uri, "bad_rows": self.bad_rows_uri, "elsewhere": elsewhere}
        return {**head, **self.check.flat(), **report}


class Bootstrap:
    """The load of one data set.

    Args:
        settings: resolved.
        version: that the data set must have; None: the one it has.
        issuer: who asks for it, by name.
        report: called with lines about running work.

    Attributes:
        checked: what was found in the rows, as soon as they are checked, also if they are refused then.

    Raises:
        NotFound, BadArtefact: there is no such complete data set.
        ServerUnavailable: S3 does not answer.
    """

    def __init__(
        self, settings: Settings, name: str, version: str | None, issuer: str, report: Report = lambda _: None
    ) -> None:
        self._settings, self._issuer, self._report = settings, issuer, report
        self._s3, self._bucket = open_s3(settings.s3), settings.s3.bucket
        self._data_set = find_data_set(self._s3, self._bucket, settings.bootstrap.prefix, name, version)
        self._load = load_name(self._data_set)
        self._sources = sources(self._s3, self._bucket, self._data_set)
        self._folder = LoadFolder(self._s3, self._bucket, self._load)
        self._models = {kind: model.spec for kind, model in active_models(settings).items()}
        self._deadline_s = time.monotonic() + settings.bootstrap.timeout_s
        self._sent: Issuer | None = None
        self.checked: Bootstrapped | None = None

    def check(self) -> Bootstrapped:
        """Check every row and its vectors, and load nothing; the report is written to S3.

        Raises:
            BadArtefact: a file is not of the schema, or is damaged.
            NotFound: a file was replaced or deleted meanwhile.
            ServerUnavailable: S3 does not answer.
        """
        rows, fates = self._checked(vectors=True)
        return self._reported(rows, fates, vectors=True)

    def run(self, *, skip_bad: bool = False, again: bool = False) -> Bootstrapped:
        """Check the data set and load it; a version that is loaded is not loaded again.

        Args:
            skip_bad: whether bad rows are skipped; otherwise one refuses the data set.
            again: begin from the start, whatever is recorded: for a store that does not hold it any more. Images that
                the platform knows stay as they are.

        Raises:
            BadArtefact, NotFound: as of `check`, or rows are bad.
            BadCommand: the worker refuses.
            ServerUnavailable: S3, Kafka or the worker does not answer, or the worker has refused for what passes: the
                same call continues.
        """
        progress = self._folder.progress()
        if again:
            progress = self._record(LoadProgress(progress.attempt + 1))
        if progress.finished is not None:
            before = self._result(read_report(progress.finished["check"]), progress.finished["loaded"], already=True)
            return replace(before, elsewhere=_elsewhere(progress))
        result, progress = self._prepared(progress, skip_bad=skip_bad)
        # Ids and heads of a large data set take gigabytes, which the worker may need now.
        pa.default_memory_pool().release_unused()
        if result.check.headed:
            load = LoadArguments(data_set=self._data_set.name, version=self._data_set.version, skip_bad=skip_bad)
            progress = self._carried_out(progress, LOAD, load)
        for number in range(len(progress.segments or ())):
            segment = IngestSegmentArguments(key=self._folder.key(_segment(number)))
            progress = self._carried_out(progress, str(number), segment)
        if not progress.published:
            if result.check.halves:
                self._publish(*self._checked(vectors=False))
            progress = self._record(replace(progress, published=True))
        loaded = dict(_sums(progress.results.values())) | {"published": result.check.halves}
        bad = int(progress.results.get(LOAD, {}).get("bad", 0))
        loaded["skipped"] = max(0, bad - result.check.bad_rows)
        result = replace(result, loaded=loaded, elsewhere=_elsewhere(progress))
        self._folder.put_json("report.json", {"data_set": self._load, **result.flat()})
        self._record(replace(progress, finished={"loaded": loaded, "check": result.check.flat()}))
        return result

    def _prepared(self, progress: LoadProgress, *, skip_bad: bool) -> tuple[Bootstrapped, LoadProgress]:
        """Check the rows, and write the segments."""
        rows, fates = self._checked(vectors=False)
        result = self._reported(rows, fates, vectors=not len(fates.rows(Fate.HEADED)))
        if result.check.bad_rows and not skip_bad:
            raise BadArtefact(
                f"{result.check.bad_rows} of {counted(len(rows), 'row')} of data set {self._data_set.name!r} are bad "
                f"({_few(result.check.bad)}), and nothing is loaded: {result.bad_rows_uri} names them; correct the "
                "files, or skip these rows (--skip-bad, `skip_bad`)"
            )
        return result, self._with_segments(progress, rows, fates)

    def call_off(self) -> str:
        """Cancel the command that the worker carries out, so that nothing happens after this run; empty if none.

        What is finished stays. The next run continues with other ids of commands.

        Raises:
            ServerUnavailable: Kafka or S3 does not answer.
        """
        if self._sent is None:
            return ""
        call_off(self._settings, self._sent)
        self._next_attempt(self._folder.progress())
        return self._sent.command_id

    def _checked(self, *, vectors: bool) -> tuple[Rows, Fates]:
        """Rows and fates; with the vectors of all rows, or of those that this program sends."""
        pace, now_ms = _Pace(self._report), SystemClock().now_ms()
        self._report(f"checking {counted(len(self._sources), 'file')} of {self._load}")
        rows = read_rows(self._sources, self._models, now_ms, partial(pace, "rows read, without vectors"))
        fates = fates_of(rows)
        wanted = np.ones(len(rows), np.bool_) if vectors else _read_here(fates)
        if wanted.any():
            pace = _Pace(self._report, len(rows))
            batches = read_vectors(
                self._sources, rows, self._models, wanted, partial(pace, "rows read, with their vectors")
            )
            found = found_in_vectors(batches, rows, fates)
            fates = fates_of(rows, found=found) if found.any() else fates
        return rows, fates

    def _reported(self, rows: Rows, fates: Fates, *, vectors: bool) -> Bootstrapped:
        report = report_of(rows, fates, vectors=vectors)
        if report.bad_rows:
            with tempfile.TemporaryDirectory(prefix="neardup-bootstrap-") as folder:
                file = Path(folder) / "bad-rows.parquet"
                pq.write_table(bad_rows_of(rows, fates), file)
                self._folder.put_file("bad-rows.parquet", file)
        self._folder.put_json("report.json", {"data_set": self._load, **report.flat()})
        self.checked = self._result(report)
        return self.checked

    def _result(
        self, check: CheckReport, loaded: Mapping[str, int] | None = None, *, already: bool = False
    ) -> Bootstrapped:
        bad_uri = self._folder.uri("bad-rows.parquet") if check.bad_rows else ""
        report_uri, name = self._folder.uri("report.json"), self._data_set.name
        uri = f"s3://{self._bucket}/{self._settings.bootstrap.prefix}{name}/"
        return Bootstrapped(name, self._data_set.version, check, report_uri, bad_uri, uri, loaded, already)

    def _with_segments(self, progress: LoadProgress, rows: Rows, fates: Fates) -> LoadProgress:
        """Write the segments, unless an earlier run has written all."""
        versions = {str(kind): model.version for kind, model in self._models.items()}
        if progress.segments is not None and progress.models == versions:
            return progress
        wanted, sizes = np.isin(fates.fate, (Fate.UNDECIDED, Fate.JOINED)), list[int]()
        pace = _Pace(self._report, len(rows))
        try:
            with (
                tempfile.TemporaryDirectory(prefix="neardup-bootstrap-") as folder,
                SegmentFiles(
                    Path(folder), rows, fates, self._models, self._settings.bootstrap.segment_images
                ) as segments,
            ):
                for batch in read_vectors(self._sources, rows, self._models, wanted, partial(pace, "rows sorted")):
                    segments.add(batch)
                for file, images in segments.files():
                    self._folder.put_file(_segment(len(sizes)), file)
                    sizes.append(images)
                    self._report(f"segment {len(sizes)} of {len(segments)} is on S3, {counted(images, 'image')}")
        except OSError as error:
            raise SetupError(f"sorting {self._load} failed: {error}; free disk, or set TMPDIR") from error
        # Segments of other models were decided or refused by other commands.
        attempt = progress.attempt + (progress.segments is not None)
        return self._record(LoadProgress(attempt, versions, sizes, published=progress.published))

    def _carried_out(self, progress: LoadProgress, part: str, arguments: CommandArguments) -> LoadProgress:
        """Carry out a command, unless an earlier run has."""
        if part in progress.results:
            return progress
        command_id = f"{self._load}-{progress.attempt}-{part}"
        self._sent = Issuer(self._issuer, command_id)
        done = len(progress.results)
        self._report(f"sending {arguments.command}, command {command_id}, after {counted(done, 'finished command')}")
        left_s = max(1.0, self._deadline_s - time.monotonic())
        answer = carry_out(self._settings, arguments, self._sent, left_s, self._report)
        self._sent = None
        if answer.temporary:
            raise ServerUnavailable(f"{answer.reason} (so said the worker of command {command_id}; repeat)")
        if not answer.accepted:
            self._next_attempt(progress)
            raise BadCommand(
                f"{answer.reason} (the worker refused {arguments.command}, command {command_id}; "
                f"{counted(done, 'command')} of this load finished before; correct it and load the data set again)"
            )
        self._report(f"{arguments.command} is done: {_few(_sums([answer.values]))}")
        return self._record(replace(progress, results={**progress.results, part: dict(answer.values)}))

    def _publish(self, rows: Rows, fates: Fates) -> None:
        """Publish the unpaired embeddings, which wait for their partners like any other."""
        wanted = fates.fate == Fate.HALF
        pace = _Pace(self._report, int(wanted.sum()))
        ensure_topics(self._settings.kafka)
        with Sender(self._settings) as sender:
            for batch in read_vectors(self._sources, rows, self._models, wanted):
                chosen = np.flatnonzero(wanted[batch.rows])
                texts = {name: binary(batch.columns, name) for name in ("source_uri", "pdq")}
                qualities = integers(batch.columns, "pdq_quality")
                for at in chosen.tolist():
                    row = int(batch.rows[at])
                    kind = Kind.LSH if rows.present[Kind.LSH][row] else Kind.PAIR
                    sender.send_embedding(
                        Embedding(
                            rows.image_id[row].as_py().decode(),
                            kind,
                            self._models[kind].version,
                            batch.vectors[kind][at].astype(np.float32),
                            int(rows.event_time_ms[row]),
                            (texts["source_uri"][at].as_py() or b"").decode(),
                            pdq=pdq(texts["pdq"][at].as_py(), qualities[at].as_py()),
                        )
                    )
                pace("unpaired embeddings published", len(chosen))

    def _record(self, progress: LoadProgress) -> LoadProgress:
        self._folder.put_progress(progress)
        return progress

    def _next_attempt(self, progress: LoadProgress) -> None:
        self._record(replace(progress, attempt=progress.attempt + 1))


def load_name(data_set: DataSet) -> str:
    """`name@version`: of the folder on S3, of the partition in Dagster, and part of the ids of commands."""
    return f"{data_set.name}@{data_set.version}"


def bootstrapped_in_words(result: Mapping[str, Any]) -> str:
    """What a load did, on one line; of `Bootstrapped.flat`."""
    loaded = result["loaded"]
    if loaded is None:
        return "nothing was loaded: this was a check"
    done = "was loaded before" if result["already"] else "is loaded"
    return (
        f"{result['name']}@{result['version']} {done}: {counted(loaded['loaded'], 'image')} with given heads, "
        f"{counted(loaded['decided'], 'image')} decided, {loaded['known']} known already, "
        f"{loaded['conflicting']} known with other vectors, {loaded.get('elsewhere', 0)} of these in another cluster "
        f"than given, {loaded['forgotten']} forgotten, "
        f"{counted(loaded['skipped'], 'row')} skipped by the worker, "
        f"{counted(loaded['published'], 'unpaired embedding')} published"
    )


class _Pace:
    """Reports the number of rows at most every few seconds."""

    def __init__(self, report: Report, total: int = 0) -> None:
        self._report, self._of = report, f" of {total}" if total else ""
        self._done, self._last_s = 0, time.monotonic()

    def __call__(self, what: str, steps: int) -> None:
        self._done += steps
        if time.monotonic() - self._last_s >= _REPORT_S:
            self._last_s = time.monotonic()
            self._report(f"{self._done}{self._of} {what}")


def _read_here(fates: Fates) -> Mask:
    """The rows whose vectors this program sends or compares."""
    wanted = np.isin(fates.fate, (Fate.UNDECIDED, Fate.HALF))
    paired = fates.rows(Fate.JOINED)
    wanted[paired] |= wanted[fates.partner[paired]]
    repeated = fates.rows(Fate.REPEATED)
    wanted[repeated] = wanted[fates.first[repeated]] = True
    return wanted


def _segment(number: int) -> str:
    return f"segments/{number:05}.parquet"


def _sums(results: Sequence[Mapping[str, Any]] | Any) -> Counter[str]:
    total = Counter(dict.fromkeys(_COUNTED, 0))
    for values in results:
        total.update({name: int(values.get(name, 0)) for name in _COUNTED})
    return total


def _elsewhere(progress: LoadProgress) -> tuple[Elsewhere, ...]:
    return from_values(progress.results.get(LOAD, {}).get("examples", ()))


def _few(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
