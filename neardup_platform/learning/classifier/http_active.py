"""Which classifier decides now, asked of whoever knows: the API, or the heartbeat of a worker in this home."""

import requests

from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import read_heartbeat

_TIMEOUT_S = 10.0


def version_in_force(settings: Settings) -> str | None:
    """The version; None where no worker has ever told.

    Args:
        settings: resolved.
    """
    try:
        sent = settings.api.sent_token
        headers = {"Authorization": f"Bearer {sent.get_secret_value()}"} if sent is not None else {}
        with requests.Session() as session:
            # A .netrc of the user's would replace the token, a proxy would be asked for this machine.
            session.trust_env = False
            answer = session.get(f"{settings.api.url}/v1/status", headers=headers, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        version = str(answer.json()["classifier_version"])
    except (requests.RequestException, ValueError, KeyError):
        heartbeat = read_heartbeat(settings.home)
        version = heartbeat.classifier_version if heartbeat else ""
    return version or None
