"""Near-duplicate images: which images are the same, decided within a second of upload.

The public API. `Client` and `AsyncClient` call a running platform; `Deduplicator` decides in memory, without servers.
Names are imported on first use, so `import neardup_platform` loads no other module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neardup_platform.client import AsyncClient, Client
    from neardup_platform.deduplicator import Deduplicator
    from neardup_platform.errors import (
        AccessDenied,
        BadArtefact,
        BadCommand,
        BadMessage,
        BadPicture,
        Conflict,
        InvalidRequest,
        InvariantBroken,
        NeardupError,
        NotFound,
        PermanentError,
        RateExceeded,
        RetryableError,
        ServerUnavailable,
        SetupError,
        TooCostly,
    )
    from neardup_platform.records import Decision
    from neardup_platform.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "BadArtefact",
    "BadCommand",
    "BadMessage",
    "BadPicture",
    "Client",
    "Conflict",
    "Decision",
    "Deduplicator",
    "InvalidRequest",
    "InvariantBroken",
    "NeardupError",
    "NotFound",
    "PermanentError",
    "RateExceeded",
    "RetryableError",
    "ServerUnavailable",
    "Settings",
    "SetupError",
    "TooCostly",
]

_MODULES = {
    "AsyncClient": "client",
    "Client": "client",
    "Decision": "records",
    "Deduplicator": "deduplicator",
    "Settings": "settings",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
