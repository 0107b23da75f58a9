"""The process that the `stream_worker` run starts: the stream worker, reporting through Dagster Pipes.

It stops cleanly on SIGINT and SIGTERM, even if it inherited them ignored, and when its standard input closes: that is a
pipe held by the run, so the worker never outlives the run, however the run ends.
"""

import contextlib
import os
import signal
import sys
import threading
import time

EXIT_FAILED = 1
# A batch is decided and committed in far less time.
ORPHAN_GRACE_S = 20.0


def main() -> int:
    """Run the worker until it is stopped; returns the exit status."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=stop_with_run, args=(stop,), daemon=True).start()
    # Imported here, so that the signal handlers are installed first.
    from neardup_platform.terminal_text import log_to_stderr, one_line

    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Imported here, so that the signal handlers are installed before TensorFlow is loaded.
    from dagster_pipes import open_dagster_pipes

    from neardup_platform.errors import NeardupError, PermanentError, SetupError
    from neardup_platform.settings import Settings
    from neardup_platform.stream.running import run_worker
    from neardup_platform.supervise.restarts import EXIT_SETUP

    with open_dagster_pipes() as pipes:
        try:
            run_worker(Settings(), stop, pipes.report_custom_message)
        except NeardupError as error:
            sys.stderr.write(f"{type(error).__name__}: {one_line(str(error))}\n")
            return EXIT_SETUP if isinstance(error, SetupError | PermanentError) else EXIT_FAILED
    return 0


def stop_with_run(stop: threading.Event) -> None:
    """Wait until standard input closes, then set `stop`; kill the process if it does not stop in time."""
    # os.read, because the lock of a buffered reader raises an error at interpreter shutdown. A broken pipe counts as
    # closed.
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    stop.set()
    time.sleep(ORPHAN_GRACE_S)
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
