"""The pause of the stream worker in the Dagster instance, for machines that do not share NEARDUP_HOME.

Job `pause_stream_worker` → NEARDUP_HOME of its machine, and **key-value store of the instance** → sensor, schedule and
run of the worker. On a machine with the same home the file decides, which `neardup resume` deletes too; on any other,
the sign does.
"""

import json
from pathlib import Path

import dagster as dg

from neardup_platform.supervise.heartbeat import pause, paused_by, resume
from neardup_platform.supervise.home import home_id, mark_of

_KEY = "neardup/stream_worker/pause"


def pause_everywhere(instance: dg.DagsterInstance, home: Path, by: str) -> None:
    """Let no worker run until `resume_everywhere`."""
    pause(home, by)
    mark_of(home)
    _write(instance, json.dumps({"by": by, "home": home_id(home)}))


def resume_everywhere(instance: dg.DagsterInstance, home: Path) -> None:
    """Lift the pause, if there is one."""
    resume(home)
    _write(instance, "")


def paused_anywhere_by(instance: dg.DagsterInstance, home: Path) -> str | None:
    """Who paused the worker, or None if it is not paused."""
    if (by := paused_by(home)) is not None:
        return by
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    try:
        sign = json.loads(text or "")
        return None if sign["home"] == home_id(home) else str(sign["by"])
    except (ValueError, KeyError, TypeError):
        return None


def _write(instance: dg.DagsterInstance, text: str) -> None:
    instance.daemon_cursor_storage.set_cursor_values({_KEY: text})
