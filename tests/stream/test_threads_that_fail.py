"""Claims about supervising threads: they report any failure, and continue."""

import sys
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store.purge import Purger
from neardup_platform.store.writer import Store
from neardup_platform.supervise.worker_process import WorkerProcess
from neardup_platform.testing import eventually

_PATIENCE_S = 60.0


def test_a_follower_that_cannot_open_the_store_reports_why_and_tries_again(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")):
        follower = StoreFollower(tmp_path / "store", tmp_path, 50)
        # The folder of the secondary cannot be made, as on a full disk.
        follower._scratch.write_text("in the way")
        follower.start()
        eventually(lambda: "FileExistsError" in follower.problem)
        follower._scratch.unlink()
        eventually(lambda: follower.is_open)
        assert follower.problem == ""
        follower.close()


class _TornLog:
    """A standard error whose other end is gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError("the other end is gone")


def test_a_worker_whose_log_cannot_be_written_does_not_hang_on_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", _TornLog())
    worker = WorkerProcess([sys.executable, "-c", "for _ in range(5_000): print('x' * 99, flush=True)"], {})
    try:
        assert worker.wait(_PATIENCE_S), "the worker waits for someone to read its output"
        assert worker.exit_info(stalled=False).last_lines[-1] == "x" * 99
    finally:
        worker.stop(kill=True)


def test_a_purge_that_fails_shows_until_one_succeeds(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        assert store.purge_problem == ""
        purger = Purger(store._tables.db)
        purger.purge(b"note", [("no bytes", "at all")])  # type: ignore[list-item]
        purger.wait()
        assert purger.problem
        purger.purge(b"note", [(b"a", b"b")])
        purger.wait()
        assert purger.problem == ""
        purger.close()
