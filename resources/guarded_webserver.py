"""Dagster's webserver behind the API's guard: `neardup up` runs this in place of `dagster-webserver`.

The application is Dagster's own, created as its command creates it, and wrapped; there is no unguarded port behind it.
"""

import argparse
import logging
import sys

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from neardup_platform.errors import NeardupError
from neardup_platform.serving.dagster_rules import dagster_bounds, dagster_rules
from neardup_platform.serving.guard import Guard
from neardup_platform.serving.limits import Limits
from neardup_platform.settings import Settings

# The values that `dagster-webserver` uses.
_STATEMENT_TIMEOUT_MS = 15_000
_POOL_RECYCLE_S = 3_600
_POOL_OVERFLOW = 20


def main() -> int:
    """Serve a workspace until SIGTERM or SIGINT; settings and DAGSTER_HOME come from the environment."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workspace", help="workspace.yaml")
    workspace = parser.parse_args().workspace
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings()
    try:
        rules, bounds = dagster_rules(settings), dagster_bounds(settings)
    except NeardupError as error:
        sys.stderr.write(f"neardup: {error}\n")
        return 1
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
        target = WorkspaceFileTarget(paths=[workspace])
        with WorkspaceProcessContext(instance, version=__version__, workspace_load_target=target) as context:
            uvicorn.run(
                Guard(Limits(create_app_from_workspace_process_context(context), bounds), rules, raw_paths=False),
                host=settings.dagster.host,
                port=settings.dagster.port,
                log_level="warning",
                timeout_graceful_shutdown=3,
                server_header=False,
                proxy_headers=False,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
