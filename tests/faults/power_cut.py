"""A disk that forgets at a power cut what was not synced: the logs of RocksDB as they were at the last sync."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from neardup_platform.store.writer import Store

# Names the file in which a worker notes how long its logs were before each sync.
NOTED = "NEARDUP_TEST_SYNCED"


def noting(noted: Path) -> Callable[[Store], None]:
    """`Store.sync` that notes what it has synced at least."""
    sync = Store.sync

    def sync_and_note(store: Store) -> None:
        sizes = {log.name: log.stat().st_size for log in Path(store._tables.db.path()).glob("*.log")}
        sync(store)
        temporary = noted.with_suffix(".tmp")
        temporary.write_text(json.dumps(sizes))
        temporary.replace(noted)

    return sync_and_note


def cut_power(store: Path, noted: Path) -> int:
    """Take from the logs of a store whose worker was killed what was never synced; returns how many bytes."""
    synced = json.loads(noted.read_text()) if noted.exists() else {}
    lost = 0
    for log in store.glob("*.log"):
        keeps = min(log.stat().st_size, synced.get(log.name, 0))
        lost += log.stat().st_size - keeps
        os.truncate(log, keeps)
    return lost
