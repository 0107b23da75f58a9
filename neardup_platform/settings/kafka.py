"""Settings of the log: where Kafka is, how clients log in, and how topics are created."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from neardup_platform.settings.values import Section


class KafkaSettings(Section):
    """The Kafka cluster. Without `bootstrap`, `neardup up` runs an embedded Apache Kafka."""

    bootstrap: str | None = None
    """Comma-separated `host:port` addresses of the cluster."""
    security_protocol: str = Field("PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    """How clients connect: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."""
    sasl_mechanism: str | None = None
    """The SASL mechanism, for example `SCRAM-SHA-512`; required by the two SASL protocols."""
    sasl_username: str | None = None
    """The SASL user name."""
    sasl_password: SecretStr | None = None
    """The SASL password; best set in the environment."""
    ssl_cafile: Path | None = None
    """A PEM file of certificate authorities to trust."""
    partitions: int = Field(4, ge=1, le=1024)
    """Partitions of topics that the platform creates. Give both embedding topics the same number: if the two embeddings
    of an image lie in partitions that are read at the same pace, few embeddings wait unpaired."""
    replication: int = Field(1, ge=1, le=9)
    """Replicas of topics that the platform creates."""
    retention_h: int = Field(168, ge=1)
    """Hours that topics created by the platform keep their messages."""
    max_message_bytes: int = Field(1_048_576, ge=65_536)
    """The largest message accepted or published, in bytes; two float32 vectors of 16,384 dimensions fit."""

    @model_validator(mode="after")
    def _sasl_complete(self) -> Self:
        sasl = {name: getattr(self, name) for name in ("sasl_mechanism", "sasl_username", "sasl_password")}
        given = [name for name, value in sasl.items() if value is not None]
        if not self.security_protocol.startswith("SASL"):
            if given:
                raise ValueError(
                    f"kafka.{given[0]} is set, but kafka.security_protocol = {self.security_protocol!r} does not use "
                    "it: set SASL_SSL or SASL_PLAINTEXT, or leave it out"
                )
            return self
        mechanism = self.sasl_mechanism
        if mechanism is None:
            raise ValueError("kafka.security_protocol requires a login: set kafka.sasl_mechanism")
        missing = [name for name, value in sasl.items() if value is None]
        if missing and (mechanism == "PLAIN" or mechanism.startswith("SCRAM-")):
            raise ValueError(f"kafka.sasl_mechanism = {mechanism!r} requires kafka.{missing[0]}")
        return self
