"""Builds the files of a load, in two steps: scan, and once the numbers are reserved, build."""

from neardup_platform.bootstrap.bulk_files import BulkFiles
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.progress import Progress
from neardup_platform.settings import Settings


class Building:
    """A load under construction.

    Args:
        settings: of the worker.
        order: what to load.
        progress: called between chunks of rows; what it raises ends the call.
    """

    def __init__(self, settings: Settings, order: LoadOrder, progress: Progress) -> None:
        self._settings, self._order, self._progress = settings, order, progress

    def scan(self) -> Scanned:
        """See `RemoteBuild.scan`."""
        raise NotImplementedError

    def build(self, reservation: Reservation) -> BulkFiles:
        """See `RemoteBuild.build`."""
        raise NotImplementedError
