"""The process that makes files: `python -m neardup_platform.stream.next_files DESCRIPTOR`, started by the worker."""

import os
import sys
from multiprocessing.connection import Connection

# Behind the stream, but before what nobody waits for: images are decided by the state to leave until it is done.
_NICENESS = 10

if __name__ == "__main__":
    os.nice(_NICENESS)
    from neardup_platform.stream.next_files.files_process import serve

    serve(Connection(int(sys.argv[1])))
