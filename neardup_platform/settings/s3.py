"""Settings of object storage, and of the snapshots kept there."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from neardup_platform.settings.values import Section


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
