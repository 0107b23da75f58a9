"""Addresses: from settings that leave servers to us, to settings that name every server.

Everything else in the platform takes resolved settings and handles embedded and external servers alike.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from neardup_platform.errors import ServerUnavailable
from neardup_platform.files import read_json
from neardup_platform.servers import kafka_server, ports, s3_server
from neardup_platform.settings import Settings
from neardup_platform.supervise.process import is_same

API_PORT = "api"
DAGSTER_PORT = "dagster"


def needs_kafka(settings: Settings) -> bool:
    """Whether the embedded Kafka is used."""
    return settings.kafka.bootstrap is None


def needs_s3(settings: Settings) -> bool:
    """Whether the embedded S3 server is used."""
    return settings.s3.endpoint is None


def resolve(settings: Settings) -> Settings:
    """Fill in the addresses of the embedded servers of a running home.

    Values that the user has set do not change; resolving again gives equal settings.

    Returns:
        Settings with `kafka.bootstrap` and `s3.endpoint`, `access_key`, `secret_key`, and `api.port` and `dagster.port`
        if they are known.

    Raises:
        ServerUnavailable: an embedded server is needed and none is running for this home.
    """
    wanted = [name for name, needed in (("Kafka", needs_kafka), ("S3 server", needs_s3)) if needed(settings)]
    if wanted and not is_running(settings.home):
        raise ServerUnavailable(
            f"no embedded {' and '.join(wanted)} is running for {settings.home}: run `neardup up`, or set "
            "NEARDUP_KAFKA_BOOTSTRAP and NEARDUP_S3_ENDPOINT to your own servers"
        )
    return with_ports(settings, ports.remembered(settings.home))


def with_ports(settings: Settings, chosen: dict[str, int]) -> Settings:
    """Settings with every missing address filled in from `chosen`, if it has one."""
    kafka: dict[str, Any] = {}
    s3: dict[str, Any] = {}
    if needs_kafka(settings) and set(kafka_server.PORTS) <= set(chosen):
        kafka = {"bootstrap": kafka_server.bootstrap(chosen)}
    if needs_s3(settings) and set(s3_server.PORTS) <= set(chosen):
        access, secret = s3_server.credentials(settings.home)
        keys = {"access_key": SecretStr(access), "secret_key": SecretStr(secret)}
        s3 = {"endpoint": s3_server.endpoint(chosen), **keys}
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update=kafka),
            "s3": settings.s3.model_copy(update=s3),
            "api": settings.api.model_copy(
                update={"port": settings.api.port or chosen.get(API_PORT, 0)},
            ),
            "dagster": settings.dagster.model_copy(
                update={"port": settings.dagster.port or chosen.get(DAGSTER_PORT, 0)}
            ),
        }
    )


def environment(settings: Settings) -> dict[str, str]:
    """The settings as `NEARDUP_…` variables, secrets in plain text, so that a child process reads the same ones.

    Values that are None are omitted: they are the defaults.
    """
    variables = {}
    for section, value in settings:
        values = dict(value) if isinstance(value, BaseModel) else {"": value}
        for name, item in values.items():
            if item is not None:
                plain = item.get_secret_value() if isinstance(item, SecretStr) else item
                text = json.dumps(plain) if isinstance(plain, tuple) else str(plain)
                variables["_".join(filter(None, ("NEARDUP", section, name))).upper()] = text
    return variables


def is_running(home: Path) -> bool:
    """Whether the supervisor of this home is alive and its servers have become ready."""
    state = read_json(state_file(home))
    return bool(state.get("servers_ready")) and is_same(state.get("pid"), state.get("created"))


def state_file(home: Path) -> Path:
    """The file in which the supervisor records what it runs."""
    return home / "run" / "platform.json"
