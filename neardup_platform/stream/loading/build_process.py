"""The process that builds a load, as `remote_build.py` calls it."""

from neardup_platform.bootstrap.building import Building
from neardup_platform.bootstrap.bulk_files import BulkFiles
from neardup_platform.bootstrap.load_order import Scanned
from neardup_platform.clock import SystemClock
from neardup_platform.errors import PermanentError
from neardup_platform.stream.child_server import Worker, serve
from neardup_platform.stream.loading.remote_build import Build, Scan


class _Server:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._building: Building | None = None

    def answer(self, call: Scan | Build) -> Scanned | BulkFiles:
        if isinstance(call, Scan):
            now_ms = SystemClock().now_ms()
            self._building = Building(self._worker.settings(), call.order, now_ms, self._worker.advance)
            return self._building.scan()
        if self._building is None:
            raise PermanentError("the worker has to scan the data set first")
        return self._building.build(call.reservation)


if __name__ == "__main__":
    serve(lambda worker: _Server(worker).answer)
