"""The process that decides again: `python -m neardup_platform.stream.reprocess DESCRIPTOR`, started by the worker."""

import os
import sys
from multiprocessing.connection import Connection

from neardup_platform.clock import SystemClock
from neardup_platform.stream.reprocess.reprocess_process import serve

# Below everything else on the machine.
_NICENESS = 19

if __name__ == "__main__":
    os.nice(_NICENESS)
    serve(Connection(int(sys.argv[1])), SystemClock())
