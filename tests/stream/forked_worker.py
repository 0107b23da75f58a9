"""Worker processes forked from one that has imported everything: a real process each, ready seconds sooner.

The fork runs the same module as `python -m`, with its own environment, output and limits, and dies of the same signals.
"""

import multiprocessing
import os
import resource
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["neardup_platform.cli", "neardup_platform.stream.running", "neardup_platform.servers.endpoints"]
)


class ForkedWorker:
    """The methods of `subprocess.Popen` that worker tests use."""

    def __init__(self, module: str, env: Mapping[str, str], log: Path, max_file_kb: int = 0) -> None:
        self._process = _FORKS.Process(target=_run, args=(module, dict(env), log, max_file_kb))
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()


def _run(module: str, env: Mapping[str, str], log: Path, max_file_kb: int) -> None:
    os.environ.clear()
    os.environ.update(env)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if max_file_kb:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_kb << 10, max_file_kb << 10))
    sys.argv = [module, "worker"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
