"""The points in a worker's life between which a crash makes a difference, named so that tests can kill it there.

They are in the order of a run; `commit.py` explains the order of a commit. `NEARDUP_CRASH_AT=committed:3` kills the
process, as `kill -9` does, when it passes the point for the third time. Without the variable, passing a point costs one
comparison.
"""

import os
import signal
from collections import Counter
from enum import StrEnum

from neardup_platform.errors import SetupError

_VARIABLE = "NEARDUP_CRASH_AT"


class CrashPoint(StrEnum):
    """What has happened when a point is passed, and what has not."""

    RESTORED = "restored"  # the corpus is read from the store; nothing is published or read from Kafka
    REPUBLISHED = "republished"  # the first messages of the outbox are handed to Kafka; nothing is read
    READ = "read"  # messages are read; nothing is joined
    JOINED = "joined"  # joined in memory; nothing is in the vector files or the term index
    ADDED = "added"  # images are in the vector files and the term index; nothing is decided
    DECIDED = "decided"  # decided in memory; nothing is written to the store
    COMMITTED = "committed"  # written; not synced to the disk, nothing of it is published
    SYNCED = "synced"  # synced to the disk; nothing of it is published
    PUBLISHED = "published"  # handed to Kafka; whether it was acknowledged is not known
    ACKNOWLEDGED = "acknowledged"  # acknowledged; still in the outbox
    PREPARED = "prepared"  # a command is prepared and finished; nothing of it is written
    STAGE_COMMITTED = "stage_committed"  # a stage of a command is written; the next one is not started
    COMMAND_COMMITTED = "command_committed"  # a command's effect and result are written; nothing is applied in memory


class CrashPoints:
    """Counts how often points are passed, in any thread; kills the process at the one asked for.

    Args:
        asked: as in the environment, `point:times`; empty for never.

    Raises:
        SetupError: there is no such point.
    """

    def __init__(self, asked: str) -> None:
        name, _, times = asked.partition(":")
        if asked and (name not in set(CrashPoint) or not times.isdigit()):
            raise SetupError(f"{_VARIABLE}={asked!r}: `point:times` is expected, a point of {[*CrashPoint]}")
        self._asked, self._times = name, int(times or 0)
        self._passed: Counter[str] = Counter()

    @classmethod
    def of_environment(cls) -> "CrashPoints":
        """Those that the environment asks for."""
        return cls(os.environ.get(_VARIABLE, ""))

    def passing(self, point: CrashPoint) -> None:
        """Record that the worker is here. It may not return."""
        if point == self._asked:
            self._passed[point] += 1
            if self._passed[point] >= self._times:
                os.kill(os.getpid(), signal.SIGKILL)
