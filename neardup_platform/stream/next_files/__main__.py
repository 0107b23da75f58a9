"""The process that makes the files: `python -m neardup_platform.stream.next_files DESCRIPTOR`, started by the worker."""

import os
import sys
from multiprocessing.connection import Connection

# Below everything else on the machine.
_NICENESS = 19

if __name__ == "__main__":
    os.nice(_NICENESS)
    from neardup_platform.stream.next_files.files_process import serve

    serve(Connection(int(sys.argv[1])))
