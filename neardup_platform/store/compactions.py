"""Holds RocksDB's own compactions while the files of a load are taken in.

While a compaction runs, no file that lies between its keys is put on its level or below: a load whose keys nothing else
has would still arrive at the top, and be compacted afterwards with as much disk again. Purges are not held.
"""

from rocksdict import Rdict


class Compactions:
    """RocksDB's compactions in the background.

    Attributes:
        held: whether none begins. A store is opened with this false, however it was closed.
    """

    def __init__(self, db: Rdict) -> None:
        self._db = db
        self.held = False

    @property
    def running(self) -> bool:
        """Whether a compaction is in progress, a purge included."""
        return int(self._db.property_value("rocksdb.num-running-compactions") or 0) > 0

    def hold(self) -> None:
        """Let no other compaction begin; one in progress ends by itself. What is written meanwhile waits at the top."""
        self._set(held=True)

    def release(self) -> None:
        """Let compactions begin again."""
        if self.held:
            self._set(held=False)

    def _set(self, *, held: bool) -> None:
        self._db.set_options({"disable_auto_compactions": "true" if held else "false"})
        self.held = held
