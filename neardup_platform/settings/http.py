"""Settings of the two HTTP servers: the API and Dagster's webserver."""

import ipaddress
import re
from pathlib import Path
from typing import Self
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator, model_validator

from neardup_platform.settings.values import Section, Texts, TokenText

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- connected to, not listened on
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class ApiSettings(Section):
    """The HTTP API and the explorer page."""

    host: str = "127.0.0.1"
    """The address to listen on. Beyond loopback a token is required."""
    port: int = Field(0, ge=0, le=65535)
    """The port; 0: a free one, chosen once and stored in NEARDUP_HOME."""
    token: TokenText = None
    """A token of scope `admin`, convenient in containers; `neardup token create` makes others."""
    client_token: TokenText = None
    """The token that the command line and Dagster's jobs send. Unset: `token`."""
    public_read: bool = False
    """Beyond loopback, allow reads (not searches) without a token."""
    names: Texts = ()
    """Further host names of this API: what a proxy passes on as Host, or what a browser uses. Setting it counts as
    exposure beyond loopback."""
    proxies: Texts = ()
    """Addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted; from other addresses these
    headers are ignored."""
    refresh_ms: int = Field(100, ge=10, le=1_000)
    """Milliseconds between catch-ups of the RocksDB secondary; readers are never more than a second behind."""
    max_upload_bytes: int = Field(20_971_520, ge=1_024)
    """The largest picture uploaded for a search, in bytes."""
    max_json_bytes: int = Field(65_536, ge=1_024)
    """The largest body of a correction, in bytes; ids and reasons need no more."""
    max_requests: int = Field(1_024, ge=8)
    """Requests in flight; the next is answered 503. Probes are not counted."""
    max_requests_per_client: int = Field(256, ge=4)
    """Requests in flight from one IPv4 address or IPv6 /64 network; the next is answered 429."""
    read_timeout_s: float = Field(10.0, gt=0)
    """Seconds within which the head of a request must arrive, and by which a body may lag behind 16 KiB/s."""

    @field_validator("names")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name: give it without scheme, port and path")
        return names

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for address in proxies:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                raise ValueError(f"{address!r} is not an address or a network: {error}") from error
        return proxies

    @property
    def url(self) -> str:
        """The address for clients on this machine; the settings must be resolved."""
        return _url(self.host, self.port)

    @property
    def sent_token(self) -> SecretStr | None:
        """The token that a client on this machine sends."""
        return self.client_token or self.token

    def image_page(self, image_id: str) -> str:
        """The page of an image in the explorer; the settings must be resolved."""
        return f"{self.url}/#/image/{quote(image_id, safe='')}"

    def cluster_page(self, head: str) -> str:
        """The page of a cluster in the explorer; the settings must be resolved."""
        return f"{self.url}/#/cluster/{quote(head, safe='')}"


class DagsterSettings(Section):
    """Dagster and its webserver."""

    host: str = "127.0.0.1"
    """The address to listen on. Beyond loopback a token of scope `admin` or an identity from a proxy is required."""
    port: int = Field(0, ge=0, le=65535)
    """The port; 0: a free one, chosen once and stored in NEARDUP_HOME."""
    token: TokenText = None
    """A token of scope `admin`; `neardup token create` makes others. Enter it in the browser as the password, with any
    user name."""
    names: Texts = ()
    """Further host names of the webserver: what a proxy passes on as Host, or what a browser uses. Setting it counts as
    exposure beyond loopback."""
    proxies: Texts = ()
    """Addresses of proxies whose `identity_header` is trusted."""
    identity_header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]+$")
    """The header in which a proxy names the user that it has authenticated; it takes the place of a token, and is
    trusted only from `proxies`."""
    home: Path | None = None
    """DAGSTER_HOME, with the `dagster.yaml` of an instance. Unset: `dagster/` in NEARDUP_HOME."""
    logs_start: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}-\d{2}:00$")
    """The first hour, in UTC, of the partitions of `logs/decisions`. Unset: the hour before this home was first started
    (`neardup up` knows it), and with a Kafka of your own `kafka.retention_h` before that. Hours that were materialised
    earlier require an earlier one."""

    source_url: str | None = Field(None, pattern=r"^https?://[^\s]+$")
    """Where the web pages of a repository show the folder of `definitions.py`, as `https://example.org/neardup/main`:
    the pages of assets link to their code there. Unset: they do not."""

    @property
    def url(self) -> str:
        """The address for browsers on this machine; the settings must be resolved."""
        return _url(self.host, self.port)


class AlertSettings(Section):
    """Who is told about problems. Without a webhook and without `mail_to` nobody is."""

    webhook: SecretStr | None = None
    """The address of a webhook that takes `{"text": "…"}`, as Slack, Mattermost and others do. It is a secret."""
    mail_to: Texts = ()
    """Addresses that get an e-mail."""
    mail_from: str = "neardup@localhost"
    """The sender of e-mails."""
    smtp_host: str = "127.0.0.1"
    """The mail server."""
    smtp_port: int = Field(25, ge=1, le=65535)
    """Its port."""
    smtp_tls: bool = False
    """Use STARTTLS."""
    smtp_user: str | None = None
    """The user name on the mail server. Unset: no login."""
    smtp_password: SecretStr | None = None
    """The password on the mail server."""

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, webhook: SecretStr | None) -> SecretStr | None:
        if webhook is not None and not re.fullmatch(r"https?://[^\s]{1,2000}", webhook.get_secret_value()):
            raise ValueError("it is not an http:// or https:// address")
        return webhook

    @field_validator("mail_to")
    @classmethod
    def _check_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            if not re.fullmatch(r"[^@\s,]+@[^@\s,]+", address):
                raise ValueError(f"{address!r} is not an e-mail address")
        return addresses

    @model_validator(mode="after")
    def _check_secrecy(self) -> Self:
        if self.smtp_password is not None and not self.smtp_tls and self.smtp_host not in ("127.0.0.1", "::1"):
            raise ValueError("smtp_password would be sent in clear text: set smtp_tls")
        return self
