"""`neardup bench operations`: what operators do to a corpus, beside a live stream, with real servers and a real worker.

A seeded store, a worker and a producer at a fixed rate. Each row is an operation: its time, from the command to its
result, and the latency of the images whose event time is within it, from their event until they are readable (see
bench/stream.py). A rollback has nothing to replay and no stream beside it; its time ends when the worker runs again.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neardup_platform.bench.disk_room import require_room
from neardup_platform.bench.live_stream import LiveStream, percentile
from neardup_platform.bench.machine import result
from neardup_platform.bench.seed_store import seed_store
from neardup_platform.bench.stream import IMAGE_BYTES, REFRESH_S, Report
from neardup_platform.bench.stream_processes import patience_s, producing, running_api, running_worker, wait_until_idle
from neardup_platform.bench.synthetic import FAMILY_IMAGES, image_id
from neardup_platform.client.sync_client import Client
from neardup_platform.errors import PermanentError
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.operations.kafka_carry_out import Issuer, carry_out, correct_in_batches
from neardup_platform.s3_client import open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.stream.redecide.s3_selections import put_selection
from neardup_platform.supervise.heartbeat import Phase, read_heartbeat
from neardup_platform.wire.command_arguments import (
    CommandArguments,
    ForgetArguments,
    MoveArguments,
    RedecideArguments,
    RestoreArguments,
    SnapshotArguments,
)

# About one image in twenty of the seeded ones scores less.
_THRESHOLD = 0.905
_FASTEST = 100_000
# Members of the cluster of the image that is labelled, about.
_CROWD = 10_000
_TIMEOUT_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured.

    Attributes:
        images: in the corpus beforehand.
        chosen: of them, decided again.
        forgotten: of them.
        searched: of those decided by another classifier, decided again.
        rate_per_s: of the live stream.
        seconds: of the live stream beside an operation; a longer one continues without it.
    """

    images: int
    chosen: int
    forgotten: int
    searched: int
    rate_per_s: float
    seconds: float

    @property
    def crowd(self) -> range:
        """The images of the large cluster: whole families before those that are searched again."""
        end = (self.images - self.searched) // FAMILY_IMAGES
        return range(max(0, end - _CROWD // FAMILY_IMAGES) * FAMILY_IMAGES, end * FAMILY_IMAGES)


def bench_operations(work: Work, report: Report) -> dict[str, Any]:
    """Run the benchmark with its own servers and store.

    Raises:
        ServerUnavailable: the worker did not become ready, or did not answer.
        SetupError: the disk has no room for the corpus.
    """
    require_room(work.images, 2 * IMAGE_BYTES, "in the store, in mapped files and on S3", "measure fewer images")
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        settings = Settings(home=Path(folder))
        with running_servers(settings) as resolved:
            ensure_topics(resolved.kafka)
            report(f"seeding a corpus of {work.images} images")
            seed_store(resolved, work.images, work.searched, work.crowd)
            most_s = patience_s(work.images)
            with running_worker(resolved, most_s) as worker:
                wait_until_idle(worker, most_s)
                rows = _Bench(resolved, work, report).rows()
    return result("operations", settings.masked(), rows)


@dataclass(slots=True)
class _Bench:
    settings: Settings
    work: Work
    report: Report
    produced: int = 0
    done: list[dict[str, Any]] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        work = self.work
        self._beside("none", work.images, lambda: time.sleep(work.seconds))
        self._command("snapshot, first", work.images, SnapshotArguments())
        self._command("snapshot, incremental", work.images, SnapshotArguments())
        rules = {"images_per_s": _FASTEST, "threshold": _THRESHOLD, "head_threshold": _THRESHOLD}
        key = self._selection(range(work.chosen))
        tried = RedecideArguments(selection=key, dry_run=True, **rules)
        self._command("reprocess_images, dry run", work.chosen, tried)
        moved = self._command("reprocess_images", work.chosen, RedecideArguments(selection=key, **rules))
        undo = RedecideArguments(undo=moved, images_per_s=_FASTEST)
        self._command("undo_reprocess", round(work.chosen * (1 - _THRESHOLD)), undo)
        others = self._selection(range(work.images - work.searched, work.images))
        again = RedecideArguments(selection=others, images_per_s=_FASTEST)
        self._command("reprocess_images, searched again", work.searched, again)
        with running_api(self.settings) as settings, Client.from_settings(settings) as client:
            labelled = image_id(work.crowd[-1])
            self._beside("label, first page", 100, lambda: client.label(labelled, "bench", "policy", "block"))
            head = image_id(work.crowd.start)
            self._beside("label, all members", len(work.crowd), lambda: deque(client.members(head), maxlen=0))
        self._beside("forget", work.forgotten, self._forget)
        self._rollback()
        return self.done

    def _forget(self) -> None:
        """Forget images from all over the corpus."""
        numbers = range(0, self.work.images, self.work.images // self.work.forgotten)[: self.work.forgotten]
        forgets = [ForgetArguments(image_id=image_id(number)) for number in numbers]
        answers = correct_in_batches(self.settings, forgets, Issuer("bench"), _TIMEOUT_S, self.report)
        refused = [each.reason for each in answers if not each.accepted]
        if refused:
            raise PermanentError(f"{len(refused)} of {len(answers)} images were not forgotten: {refused[0]}")

    def _selection(self, numbers: range) -> str:
        s3, bucket = open_s3(self.settings.s3), self.settings.s3.bucket
        return put_selection(s3, bucket, [image_id(number) for number in numbers])

    def _command(self, operation: str, images: int, arguments: CommandArguments) -> str:
        """Measure a command; returns its id."""
        ids: list[str] = []
        self._beside(operation, images, lambda: ids.append(self._send(arguments)["command_id"]))
        return ids[0]

    def _send(self, arguments: CommandArguments) -> dict[str, Any]:
        answer = carry_out(self.settings, arguments, Issuer("bench"), _TIMEOUT_S, self.report)
        if not answer.accepted:
            raise PermanentError(f"{arguments.command} was refused: {answer.reason}")
        return answer.flat()

    def _beside(self, operation: str, images: int, action: Callable[[], object]) -> None:
        """Run an operation beside the live stream."""
        self.report(operation)
        first, count = self.work.images + self.produced, round(self.work.rate_per_s * self.work.seconds)
        self.produced += count
        with producing(first, count, self.work.rate_per_s, self.settings):
            live = LiveStream(self.settings, first, count)
            live.wait_for_first()
            started_s = time.time()
            action()
            ended_s = time.time()
            live.wait()
        latencies_ms = live.between(started_s, ended_s)
        self._add(operation, images, ended_s - started_s, latencies_ms)

    def _rollback(self) -> None:
        """Back to a snapshot that lacks one correction."""
        snapshot = self._send(SnapshotArguments())["snapshot"]
        self._send(MoveArguments(image_id=image_id(1), other_id=image_id(self.work.images - 1)))
        self.report("rollback")
        started_s = time.time()
        self._send(RestoreArguments(snapshot=snapshot))
        answered_s = time.time()
        while not self._runs_since(answered_s):
            time.sleep(REFRESH_S)
        self._add("rollback", self.work.images, time.time() - started_s, [])

    def _runs_since(self, at_s: float) -> bool:
        heartbeat = read_heartbeat(self.settings.home)
        return heartbeat is not None and heartbeat.phase is Phase.RUNNING and heartbeat.at_ms >= 1_000 * at_s

    def _add(self, operation: str, images: int, seconds: float, latencies_ms: list[float]) -> None:
        row: dict[str, Any] = {
            "engine": "neardup",
            "operation": operation,
            "images": images,
            "seconds": round(seconds, 2),
            "images_per_s": round(images / seconds, 1),
            "stream_images": len(latencies_ms),
            "stream_p50_ms": percentile(latencies_ms, 50),
            "stream_p99_ms": percentile(latencies_ms, 99),
        }
        self.report("  ".join(f"{name}={value}" for name, value in row.items()))
        self.done.append(row)
