"""Settings and connections of the platform, read when a run or a tick needs them, never at import.

Their libraries are imported then too: they would more than double the load time of this code location. All settings
come from `NEARDUP_…` environment variables and `neardup.toml`, as for the command line.
"""

import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from neardup_platform.settings import Settings


def logs_start() -> str:
    """The first hour of the logs. The definitions depend on no other setting, so only this one is read at import.

    `neardup up` sets it. Without it, the hours start at a date before the platform existed.
    """
    return os.environ.get("NEARDUP_DAGSTER_LOGS_START", "2025-01-01-00:00")


class PlatformResource(dg.ConfigurableResource[Any]):
    """How every asset, job and sensor of this code location reaches the outside.

    It has no fields, because anyone who can launch a run could set them: a program, a path or an address never comes
    from a launch.
    """

    def worker_command(self) -> list[str]:
        """The command line of the stream worker, which writes heartbeats and stops on SIGTERM."""
        return [sys.executable, "-m", "neardup_platform.stream.supervised_process"]

    def missing_server(self) -> str:
        """Why a worker cannot run now, in one line with what to do; empty if Kafka answers."""
        from neardup_platform.errors import ServerUnavailable
        from neardup_platform.servers.endpoints import resolve
        from neardup_platform.servers.ports import broker_answers

        try:
            bootstrap = resolve(Settings()).kafka.bootstrap or ""
        except ServerUnavailable as error:
            return str(error)
        if broker_answers(bootstrap):
            return ""
        return f"no Kafka broker answers at {bootstrap}: start it, or correct kafka.bootstrap (NEARDUP_KAFKA_BOOTSTRAP)"

    def home(self) -> Path:
        """NEARDUP_HOME. Unlike `settings`, this works without running servers."""
        return Settings().home

    def stalled_s(self) -> float:
        """Seconds without a heartbeat after which a run or a worker counts as stalled."""
        return Settings().worker.stalled_s

    def local_settings(self) -> Settings:
        """The settings as given, for code that needs no running servers."""
        return Settings()

    def settings(self) -> Settings:
        """The effective settings, with the addresses of the embedded servers if those are used.

        Raises:
            ServerUnavailable: embedded servers are needed and none are running for this home.
        """
        from neardup_platform.servers.endpoints import resolve

        return resolve(Settings())
