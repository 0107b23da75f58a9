"""Opens the term index that the settings describe."""

from pathlib import Path

from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import TermSettings
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex


def open_index(
    folder: Path | None,
    space: TermSpace,
    settings: TermSettings,
    source: str = "",
    *,
    writable: bool = True,
    known: TermIndex | None = None,
    progress: Progress = no_progress,
) -> TermIndex:
    """Opens a term index according to the settings; arguments as of `TermIndex`."""
    return TermIndex(
        *(folder, space, Effort.of(settings)),
        threads=settings.threads,
        source=source,
        writable=writable,
        known=known,
        progress=progress,
    )
