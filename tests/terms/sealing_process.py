"""Adds and deletes images until it is killed with SIGKILL, repeatedly, each time at a later call that changes the disk.

    python -m tests.terms.sealing_process FOLDER STEP

Run n works in FOLDER/n and is killed before (n even) or after (n odd) call n // 2; runs are STEP apart, and the last
one is the first that finishes. Each logs in FOLDER/n.log what it starts to delete, and that it has finished. Processes
are forked from one that has imported and compiled everything.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neardup_platform.terms import mmap_segment
from neardup_platform.terms.hyperplanes import Hashed
from neardup_platform.terms.index import TermIndex
from neardup_platform.testing import EXHAUSTIVE, small_term_space

BLOCK_IMAGES = 16
IMAGES = 400


def vectors() -> np.ndarray:
    """Returns the images, float32 [IMAGES, dim]; always the same."""
    return np.random.default_rng(5).standard_normal((IMAGES, small_term_space().dim)).astype(np.float32)


def kill_again_and_again(folder: Path, step: int) -> None:
    """Forks one run after the other until one is not killed."""
    images = small_term_space().hash(vectors())
    fill(folder / "compiled", images)
    number, status = 0, -1
    while status:
        child = os.fork()
        if not child:
            _die_at(number)
            fill(folder / str(number), images)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status not in (0, signal.SIGKILL):
            sys.exit(f"run {number} failed: wait status {status}")
        number += step


def fill(folder: Path, images: Hashed) -> None:
    """Adds all images and deletes some, while segments are sealed and merged."""
    log = folder.with_suffix(".log")
    log.parent.mkdir(exist_ok=True)
    with log.open("w", buffering=1) as notes:
        index = TermIndex(folder, small_term_space(), EXHAUSTIVE, source="s", block_images=BLOCK_IMAGES)
        for first in range(0, IMAGES, 8):
            index.add(images[first : first + 8])
            if first % 40 == 32:
                notes.write(f"{first - 30}\n")
                index.delete(np.array([first - 30]))
            if first % 80 == 72:
                index.flush()
        index.flush()
        notes.write("finished\n")


def _die_at(number: int) -> None:
    counted = -1

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            nonlocal counted
            counted += 1
            mine = counted
            if number == 2 * mine:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = function(*args, **options)
            if number == 2 * mine + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return run

    os.fsync = dying(os.fsync)
    os.posix_fallocate = dying(os.posix_fallocate)
    Path.rename = dying(Path.rename)  # type: ignore[method-assign]
    Path.unlink = dying(Path.unlink)  # type: ignore[method-assign]
    mmap_segment._fill = dying(mmap_segment._fill)


if __name__ == "__main__":
    kill_again_and_again(Path(sys.argv[1]), int(sys.argv[2]))
