"""The process that builds a load: `python -m neardup_platform.stream.loading DESCRIPTOR`, started by the worker."""

import os
import sys
from multiprocessing.connection import Connection

# Below everything else on the machine.
_NICENESS = 19

if __name__ == "__main__":
    os.nice(_NICENESS)
    from neardup_platform.stream.loading.build_process import serve

    serve(Connection(int(sys.argv[1])))
