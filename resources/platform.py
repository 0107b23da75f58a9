"""Settings and connections of the platform, read when a run or a tick needs them, never at import.

Their libraries are imported then too: they would more than double the time to load this code location.
Everything comes by `NEARDUP_…` environment variables and `neardup.toml`, as for the command line.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from neardup_platform.settings import S3Settings, Settings

if TYPE_CHECKING:
    from dagster_aws.s3 import S3Resource


def logs_start() -> str:
    """The first hour of the logs; only this setting bears on what is defined, so it alone is read at import.

    `neardup up` hands it on. To another launcher every hour is offered since before there was a platform.
    """
    return os.environ.get("NEARDUP_DAGSTER_LOGS_START", "2025-01-01-00:00")


class PlatformResource(dg.ConfigurableResource):
    """What every asset, job and sensor of this code location reaches the outside through.

    It has no fields, because anyone who can launch a run could set them: a program, a path or an address never comes
    from there.
    """

    def worker_command(self) -> list[str]:
        """The program of the stream worker and its arguments; it writes heartbeats and ends on SIGTERM."""
        return [sys.executable, "-m", "jobs.stream_worker_process"]

    def missing_server(self) -> str:
        """Why no worker could work now, in one line with what to do; empty where Kafka answers."""
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
        """NEARDUP_HOME; unlike `settings` it asks for no running servers."""
        return Settings().home

    def stalled_s(self) -> float:
        """Seconds without a sign of life after which a run or a worker counts as stalled."""
        return Settings().worker.stalled_s

    def local_settings(self) -> Settings:
        """The settings as they are given, for what needs no running servers."""
        return Settings()

    def settings(self) -> Settings:
        """The effective settings, with the addresses of the embedded servers where those are used.

        Raises:
            ServerUnavailable: embedded servers are needed and none are running for this home.
        """
        from neardup_platform.servers.endpoints import resolve

        return resolve(Settings())


def s3_resource(settings: S3Settings) -> "S3Resource":
    """Dagster's S3 resource for resolved settings; without keys, boto3's own credential chain is used."""
    from dagster_aws.s3 import S3Resource

    return S3Resource(
        endpoint_url=None if settings.endpoint == "aws" else settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key.get_secret_value() if settings.access_key else None,
        aws_secret_access_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
    )
