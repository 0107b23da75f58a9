"""Readiness over HTTP: the API and the Dagster webserver report it themselves."""

import urllib.error
import urllib.request
from collections.abc import Callable


def answers_ok(url: str, timeout_s: float = 2.0) -> Callable[[], str | None]:
    """A probe that passes once `url` answers with status 200."""
    # No proxy from the environment: the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def probe() -> str | None:
        try:
            with opener.open(url, timeout=timeout_s) as answer:
                return None if answer.status == 200 else f"{url} answers {answer.status}"
        except urllib.error.HTTPError as error:
            return f"{url} answers {error.code}"
        except OSError as error:
            return f"{url} does not answer: {getattr(error, 'reason', error)}"

    return probe
