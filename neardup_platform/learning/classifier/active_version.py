"""The version of the active classifier, as reported by the API or by the heartbeat of a worker in this home."""

from neardup_platform.client import Client
from neardup_platform.errors import NeardupError
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import read_heartbeat

_TIMEOUT_S = 10.0


def active_version(settings: Settings) -> str | None:
    """The version, or None if no worker has reported one.

    Args:
        settings: resolved.
    """
    try:
        with Client.from_settings(settings, timeout_s=_TIMEOUT_S, attempts=1) as api:
            version = api.status().classifier_version
    except NeardupError:
        heartbeat = read_heartbeat(settings.home)
        version = heartbeat.classifier_version if heartbeat else ""
    return version or None
