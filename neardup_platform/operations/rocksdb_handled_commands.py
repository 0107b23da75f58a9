"""Commands that the worker has handled, in their order, read from its store."""

import os
import shutil
from contextlib import closing
from dataclasses import dataclass

from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.view import StoreView

_SCRATCH = "commands-"


@dataclass(frozen=True, slots=True)
class HandledCommand:
    """A command with its result.

    Attributes:
        number: 1, 2, 3… in the order of handling.
        name: empty for one that an earlier version handled.
        reason: why it was refused; empty if it was accepted.
        finished_ms: Unix milliseconds.
        sequence: of the last decision before it took effect.
    """

    number: int
    command_id: str
    name: str
    issued_by: str
    accepted: bool
    reason: str
    finished_ms: int
    sequence: int


def commands_since(settings: Settings, number: int, most: int = 100) -> list[HandledCommand]:
    """The commands after one, oldest first; of more than `most`, the newest.

    Args:
        settings: of the worker's machine.
        number: of the last known one; 0 for none. One above the newest is of another store, and counts as 0.

    Raises:
        ServerUnavailable: the store cannot be read yet.
    """
    if not (settings.store_path / "CURRENT").exists():
        return []
    scratch = settings.home / f"{_SCRATCH}{os.getpid()}"
    try:
        with closing(SecondaryStore(settings.store_path, scratch)) as store:
            return _since(store, number, most)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _since(store: StoreView, number: int, most: int) -> list[HandledCommand]:
    last = store.state().commands
    first = max(number if number <= last else 0, last - most) + 1
    return [found for each in range(first, last + 1) if (found := _handled(store, each)) is not None]


def _handled(store: StoreView, number: int) -> HandledCommand | None:
    command_id = store.commands.id_of(number)
    record = store.commands.find(command_id) if command_id is not None else None
    if command_id is None or record is None:
        return None
    result = record.result
    return HandledCommand(
        number,
        command_id,
        record.name,
        record.issued_by,
        result.accepted,
        result.reason,
        result.finished_ms,
        result.sequence,
    )
