"""The folders of loads: when each was started, and which are of no use any more."""

import shutil
from pathlib import Path
from typing import Any

from neardup_platform.files import read_sealed, write_sealed
from neardup_platform.store.readers.commands import CommandReader

_STARTED = "started.json"


def note_start(folder: Path, command_id: str, now_ms: int) -> None:
    """Note when the first attempt was started: what is forgotten later is compared when the load is taken in."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _note_of(folder):
        write_sealed(folder / _STARTED, {"command_id": command_id, "at_ms": now_ms})


def started_ms(folder: Path) -> int:
    """Return when the first attempt was started, Unix milliseconds; 0 if that is not known."""
    return int(_note_of(folder).get("at_ms", 0))


def remove_finished(loads: Path, commands: CommandReader) -> None:
    """Remove the files of loads that were finished just before a crash."""
    for note in loads.glob(f"*/{_STARTED}"):
        if commands.final(str(_note_of(note.parent).get("command_id", ""))) is not None:
            shutil.rmtree(note.parent, ignore_errors=True)


def remove_others(folder: Path) -> None:
    """Remove what loads have left that were not continued."""
    for left in folder.parent.iterdir() if folder.parent.exists() else ():
        if left != folder:
            shutil.rmtree(left, ignore_errors=True)


def _note_of(folder: Path) -> dict[str, Any]:
    try:
        return read_sealed(folder / _STARTED) or {}
    except ValueError:
        return {}
