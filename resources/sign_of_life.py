"""The sign of life that the run of the stream worker leaves in the Dagster instance, wherever it runs.

Run → **key-value store of the instance** → sensor. Run, daemon and code server share the instance, but not always a
machine or a folder: with a launcher for Kubernetes, ECS or Docker, each run has its own.
"""

import json
from typing import NamedTuple

import dagster as dg

_KEY = "neardup/stream_worker/sign_of_life"


class SignOfLife(NamedTuple):
    """Which run left it, and when by the run's clock, in Unix milliseconds."""

    run_id: str
    at_ms: int


def leave_sign(instance: dg.DagsterInstance, sign: SignOfLife) -> None:
    """Replace the last sign; nothing is appended to the log of the run."""
    instance.daemon_cursor_storage.set_cursor_values({_KEY: json.dumps(sign._asdict())})


def last_sign(instance: dg.DagsterInstance) -> SignOfLife | None:
    """The last sign; None if there is none, or none that can be read."""
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    try:
        raw = json.loads(text or "")
        return SignOfLife(str(raw["run_id"]), int(raw["at_ms"]))
    except (ValueError, KeyError, TypeError):
        return None
