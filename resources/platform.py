"""Settings and connections of the platform, read when a run or a tick needs them, never at import.

Their libraries are imported then too: they would more than double the time to load this code location.
Everything comes by `NEARDUP_…` environment variables and `neardup.toml`, as for the command line.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from neardup_platform.settings import S3Settings, Settings

if TYPE_CHECKING:
    from dagster_aws.s3 import S3Resource


class PlatformResource(dg.ConfigurableResource):
    """What every asset, job and sensor of this code location reaches the outside through."""

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
        from neardup_platform.embedded.endpoints import resolve

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
