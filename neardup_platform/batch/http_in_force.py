"""Which classifier decides now, asked of whoever knows: the API, or the heartbeat of a worker in this home."""

import requests

from neardup_platform.settings import Settings
from neardup_platform.supervision import read_heartbeat

_TIMEOUT_S = 10.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 -- asked, not listened on


def version_in_force(settings: Settings) -> str | None:
    """The version; None where no worker has ever told.

    Args:
        settings: resolved.
    """
    host = _EVERYWHERE.get(settings.api.host, settings.api.host)
    try:
        answer = requests.get(f"http://{host}:{settings.api.port}/v1/status", timeout=_TIMEOUT_S)
        answer.raise_for_status()
        version = str(answer.json()["classifier_version"])
    except (requests.RequestException, ValueError, KeyError):
        heartbeat = read_heartbeat(settings.home)
        version = heartbeat.classifier_version if heartbeat else ""
    return version or None
