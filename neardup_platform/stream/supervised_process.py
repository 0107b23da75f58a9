"""The stream worker as a supervised process; `python -m neardup_platform.stream.supervised_process` runs it.

It stops cleanly on SIGINT and SIGTERM, whatever handlers it inherited, and when its standard input closes: that is a
pipe held by the supervisor, so the worker never outlives it. What it reports is in its heartbeat.
"""

import contextlib
import os
import signal
import sys
import threading
import time

EXIT_FAILED = 1
# Deciding and committing a batch takes far less.
ORPHAN_GRACE_S = 20.0


def main() -> int:
    """Run the worker until it is stopped; return the exit status."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=stop_with_supervisor, args=(stop,), daemon=True).start()
    # Imported here, so that the signal handlers are installed before TensorFlow is loaded.
    from neardup_platform.clock import SystemClock
    from neardup_platform.errors import NeardupError, PermanentError, SetupError
    from neardup_platform.settings import Settings
    from neardup_platform.stream.running import run_worker
    from neardup_platform.supervise.restarts import EXIT_SETUP
    from neardup_platform.terminal_text import log_to_stderr, one_line

    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run_worker(Settings(), SystemClock(), stop, lambda _: None)
    except NeardupError as error:
        sys.stderr.write(f"{type(error).__name__}: {one_line(str(error))}\n")
        return EXIT_SETUP if isinstance(error, SetupError | PermanentError) else EXIT_FAILED
    return 0


def stop_with_supervisor(stop: threading.Event) -> None:
    """Wait until standard input closes, then set `stop`; exit the process if it does not stop in time."""
    # os.read, because the lock of a buffered reader fails at interpreter shutdown. A pipe that fails counts as closed.
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    stop.set()
    time.sleep(ORPHAN_GRACE_S)
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
