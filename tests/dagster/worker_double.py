"""A small program in place of the stream worker: it writes heartbeats and ends as its argument says.

Metrics of `metrics.json` in its home, if there is one, are in its heartbeats.
"""

import json
import os
import signal
import sys
import threading
import time

from neardup_platform.settings import Settings
from neardup_platform.stream.supervised_process import stop_with_supervisor
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, write_heartbeat
from neardup_platform.supervise.restarts import EXIT_SETUP


def main(behaviour: str) -> int:
    home = Settings().home
    stop = threading.Event()
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        threading.Thread(target=stop_with_supervisor, args=(stop,), daemon=True).start()
    with (home / "starts").open("a") as starts:
        starts.write(f"{os.getpid()} {time.time()}\n")
    started_ms = time.time_ns() // 1_000_000
    if behaviour == "misconfigured":
        sys.stderr.write("SetupError: no such broker\n")
        return EXIT_SETUP
    if behaviour == "broken":
        sys.stderr.write("the last words\n")
        return 3
    while not stop.is_set():
        now_ms = time.time_ns() // 1_000_000
        metrics = {"images": 12.0, "p99_ms": 345.5}
        if (told := home / "metrics.json").exists():
            metrics |= json.loads(told.read_text())
        if behaviour != "stalls" or now_ms < started_ms + 500:
            write_heartbeat(home, Heartbeat(os.getpid(), started_ms, now_ms, Phase.RUNNING, metrics))
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
