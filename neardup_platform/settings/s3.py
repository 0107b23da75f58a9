"""Settings of object storage, of the snapshots kept there, and of the data sets brought there."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from neardup_platform.settings.values import Section

MAX_PREFIX = 200


class S3Settings(Section):
    """Where artefacts and pictures are stored."""

    endpoint: str | None = None
    """URL of an S3 server, or `aws` for AWS itself. Unset: `neardup up` runs an embedded SeaweedFS."""
    bucket: str = "neardup"
    """The bucket."""
    region: str = "us-east-1"
    """The region."""
    access_key: SecretStr | None = None
    """The access key; set both keys or neither. Neither: boto3's own search for credentials."""
    secret_key: SecretStr | None = None
    """The secret key."""

    @model_validator(mode="after")
    def _keys_complete(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            missing = "s3.secret_key" if self.secret_key is None else "s3.access_key"
            raise ValueError(f"only one of the two S3 credentials is set: set {missing} as well, or neither")
        return self


class SnapshotSettings(Section):
    """Copies of the store on S3."""

    keep: int | None = Field(None, ge=1)
    """Of the snapshots taken by hand, how many of the newest stay; the others are deleted after each snapshot. Unset:
    all of them stay until you delete them."""
    keep_hourly: int = Field(24, ge=1)
    """Of the snapshots taken by the schedule, the newest of each of this many hours stays."""
    keep_daily: int = Field(7, ge=0)
    """Of the snapshots taken by the schedule, the newest of each of this many days (UTC) stays as well."""


def _folder(prefix: str) -> str:
    parts = prefix.removesuffix("/").split("/")
    if len(prefix) > MAX_PREFIX or not all(re.fullmatch(r"[A-Za-z0-9._=-]+", part) for part in parts):
        raise ValueError(
            f"{prefix[:80]!r} is not a folder like `bootstrap/`: A-Z a-z 0-9 . _ = - and `/`, at most {MAX_PREFIX}"
        )
    return f"{prefix.removesuffix('/')}/"


class BootstrapSettings(Section):
    """Data sets on S3 that hold an existing corpus."""

    prefix: Annotated[str, AfterValidator(_folder)] = "bootstrap/"
    """The folder in the bucket whose folders are data sets."""
    segment_images: int = Field(100_000, ge=1_000, le=1_000_000)
    """Images without a given head that are decided by one command. They are in memory together while their segment is
    written: 100,000 of the built-in embedders take 200 MB."""
    most_requested: int = Field(10, ge=1, le=1_000)
    """Data sets for which the sensor requests a run in one tick."""
    timeout_s: float = Field(86_400.0, ge=1, le=604_800)
    """How long one run waits for the worker, in seconds. After that the run fails, and executing it again continues
    where it was."""
