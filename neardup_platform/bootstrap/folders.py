"""Where the files of a load are. Pure."""

import hashlib
from pathlib import Path


def folder_of(loads: Path, command_id: str) -> Path:
    """Return the folder of a load, which an interrupted command finds again.

    Args:
        loads: folder of the folders of loads, on the disk of the store.
    """
    return loads / hashlib.sha256(command_id.encode()).hexdigest()[:16]
