"""Runs `neardup` as a child process: the demo uses only commands that a user can type."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from neardup_platform.errors import NeardupError

_COMMAND = (sys.executable, "-m", "neardup_platform.cli")


class CommandFailed(NeardupError):
    """A `neardup` command failed; it has printed its error itself."""


def run(*arguments: str) -> None:
    """Run a command; its output goes to the terminal.

    Raises:
        CommandFailed: its exit status is not 0.
    """
    _check(arguments, subprocess.run([*_COMMAND, *arguments], check=False).returncode)


def run_json(*arguments: str) -> dict[str, Any]:
    """Run a command with `--json`; errors and progress go to the terminal.

    Returns:
        The object it printed.

    Raises:
        CommandFailed: its exit status is not 0, or it printed something other than one JSON object.
    """
    done = subprocess.run([*_COMMAND, *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    _check(arguments, done.returncode)
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise CommandFailed(f"`neardup {' '.join(arguments)} --json` printed no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise CommandFailed(f"`neardup {' '.join(arguments)} --json` printed no JSON object: {answer!r}")
    return answer


def is_ready() -> bool:
    """Whether a platform is already running and ready."""
    done = subprocess.run([*_COMMAND, "status", "--json"], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout).get("ready") is True
    except (ValueError, AttributeError):
        return False


def shown_path() -> str:
    """The path of the command to show to users, relative to the working directory if inside it."""
    command = Path(sys.executable).with_name("neardup")
    return str(command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command)


def _check(arguments: tuple[str, ...], status: int) -> None:
    if status != 0:
        raise CommandFailed(f"`neardup {' '.join(arguments)}` ended with status {status}; its error is above")
