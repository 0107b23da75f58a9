"""The machine of a measurement, and the object that every benchmark prints."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

_NVIDIA_SMI_S = 20.0


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and Python version."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def gpus() -> list[str]:
    """Name, driver and memory of each NVIDIA GPU, as `nvidia-smi` prints them; none without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        printed = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=_NVIDIA_SMI_S).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return printed.splitlines()


def result(bench: str, settings: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The object of the contract: `bench`, `machine`, `settings`, `rows`."""
    return {"bench": bench, "machine": machine(), "settings": settings, "rows": rows}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())
