"""The process that the `stream_worker` run starts: the stream worker, reporting through Dagster Pipes."""

import contextlib
import sys
from collections.abc import Iterator

from neardup_platform.stream.supervised_process import Report, run_supervised


@contextlib.contextmanager
def _dagster_pipes() -> Iterator[Report]:
    # Imported here, so that the signal handlers are installed first.
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield pipes.report_custom_message


def main() -> int:
    """Run the worker until it is stopped; return the exit status."""
    return run_supervised(_dagster_pipes)


if __name__ == "__main__":
    sys.exit(main())
