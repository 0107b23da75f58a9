"""The parts of a load that are complete, so that an interrupted building continues where it was."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.files import read_sealed, write_sealed

_NAME = "parts.json"


class Parts:
    """The parts; any number of threads may add some.

    Args:
        folder: of the load.
        of: what they are made from, as text; those made from anything else are removed.
        patterns: of the names of files that are parts.

    Raises:
        BadArtefact: the list of parts is damaged.
    """

    def __init__(self, folder: Path, of: str, patterns: Sequence[str]) -> None:
        self._folder, self._of, self._lock = folder, of, threading.Lock()
        try:
            found = read_sealed(folder / _NAME) or {}
        except ValueError as error:
            raise BadArtefact(f"{folder / _NAME}: {error}: cancel the load and send it again") from error
        self._done: dict[str, int] = found["done"] if found.get("of") == of else {}
        for pattern in patterns:
            for path in folder.glob(pattern):
                if self._done.get(str(path.relative_to(folder))) != path.stat().st_size:
                    path.unlink()

    def made(self, name: str) -> int | None:
        """What `add` was given for this part; None where it is not complete."""
        return self._done.get(name)

    def has(self, name: str) -> bool:
        """Whether a file is complete and there."""
        return self.made(name) is not None and (self._folder / name).exists()

    def add(self, name: str, amount: int) -> None:
        """Note, durably, that a part is complete, with a number that says how large it is or how far it goes."""
        with self._lock:
            self._done[name] = amount
            write_sealed(self._folder / _NAME, {"of": self._of, "done": self._done})

    def make(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file, unless it is there.

        Args:
            name: below the folder.
            write: leaves it complete and synced.
        """
        path = self._folder / name
        if not self.has(name):
            path.parent.mkdir(exist_ok=True)
            write(path)
            self.add(name, path.stat().st_size)

    def remove(self, name: str) -> None:
        """Remove a file that others stand for now."""
        with self._lock:
            self._done.pop(name, None)
            write_sealed(self._folder / _NAME, {"of": self._of, "done": self._done})
        (self._folder / name).unlink(missing_ok=True)

    def files(self, folder: str, suffix: str) -> dict[str, int]:
        """The sizes of the complete files of a folder below, by name, in order of name; "." for the folder itself."""
        paths = sorted((Path(name), size) for name, size in self._done.items())
        return {path.name: size for path, size in paths if path.suffix == suffix and str(path.parent) == folder}
