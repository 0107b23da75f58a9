"""A worker that is killed at a line of what saves and reads the checkpoint.

`python -m tests.stream.killed_while_saving HOME` does it at every fifth line. Each attempt is a fork of a process that
has never opened a store. It opens the home of the previous attempt, checks it, changes it, saves, and kills itself when
it reaches its line; the lines are those that an attempt without a kill has executed, in order. Prints how many were
killed, and exits with 1 when a start had led to anything but the store.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from neardup_platform.image_table import checkpoint, mmap_ids
from neardup_platform.stream import checkpointing
from neardup_platform.stream.checkpointing import Checkpointing
from neardup_platform.testing import InMemoryWorker, families
from tests.stream.test_known_corpus import assert_as_read_in_full

_TRACED = {module.__file__ for module in (checkpoint, mmap_ids, checkpointing)}
_EVERY = 5
_POOL = families(200, 2, noise=0.2)

Line = tuple[str, int]


def attempt(home: Path, first: int) -> None:
    """Open, check, change and save."""
    worker = InMemoryWorker(home)
    assert_as_read_in_full(worker)
    known = [image_id for image_id in worker.corpus.ids() if image_id]
    worker.decide([each for each in _POOL[first : first + 4] if worker.store.images.find(each.image_id) is None])
    if len(known) > 8:
        worker.forget(known[0])
        worker.override("move", known[1], known[-1])
    saving = Checkpointing(worker.store, worker.corpus, home / "vectors", worker.store.state())
    worker.decide([each for each in _POOL[first + 4 : first + 8] if worker.store.images.find(each.image_id) is None])
    saving.turn(worker.store.state())
    saving.close()
    worker.close()


def traced(reached: Callable[[Line], None]) -> None:
    """Call for each line of the traced modules that is reached for the first time, in any thread."""
    seen: set[Line] = set()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in _TRACED:
            return None
        line = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and line not in seen:
            seen.add(line)
            reached(line)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def forked(work: Callable[[], None]) -> int:
    """Run in a fork; returns how it ended, as `waitpid` does."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 -- nothing may leave a fork but its exit code
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(3)
    return os.waitpid(pid, 0)[1]


def main(home: Path) -> None:
    checkpointing.LEAST_DECISIONS = 1
    lines = home / "lines"
    home.mkdir(parents=True)

    def listing() -> None:
        attempt(home, 0)
        with lines.open("w") as file:
            traced(lambda line: print(*line, sep="\t", file=file))
            attempt(home, 8)

    if forked(listing):
        raise SystemExit(1)
    wanted = [
        (name, int(number)) for name, _, number in (row.partition("\t") for row in lines.read_text().split("\n") if row)
    ]
    killed = 0
    for number, line in enumerate(wanted[::_EVERY]):

        def until(line: Line = line, first: int = 16 + 8 * number) -> None:
            traced(lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == line else None)
            attempt(home, first % len(_POOL))

        status = forked(until)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit(f"after {line}")
        killed += os.WIFSIGNALED(status)
    if forked(lambda: attempt(home, 0)):
        raise SystemExit(1)
    sys.stdout.write(str(killed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
