"""The machine of a measurement, and the object that every benchmark prints."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and Python version."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def result(bench: str, settings: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The object of the contract: `bench`, `machine`, `settings`, `rows`."""
    return {"bench": bench, "machine": machine(), "settings": settings, "rows": rows}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())
