"""Memory that this process does not share with files."""

import ctypes
import gc
import sys

import psutil


def own_bytes() -> int:
    """Resident bytes that are not pages of files, after returning free memory to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))
