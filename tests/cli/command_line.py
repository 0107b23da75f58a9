"""`neardup` as an operator calls it: in this process, within milliseconds, or in one of its own, within seconds."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from neardup_platform.cli import main


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the program's entry point with these arguments and variables; returns its status and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in {"NEARDUP_HOME": str(home), **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["neardup", *arguments])
        status = main()
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def run_process(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own: what libraries print, too, and what is imported."""
    argv = [sys.executable, "-m", "neardup_platform.cli", *arguments]
    env = {**os.environ, "NEARDUP_HOME": str(home)}
    return subprocess.run(argv, capture_output=True, text=True, env=env, check=False, timeout=120)
