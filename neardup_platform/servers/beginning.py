"""When the platform of a home began, so that Dagster offers no hours in which there was nothing to log."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from neardup_platform.settings import Settings
from neardup_platform.supervise.home import mark_of, read_json, write_new


def with_logs_start(settings: Settings, embedded_kafka: bool, now: datetime) -> Settings:
    """Settings that name the first hour of the logs, where the user has not.

    It is the hour before the first start, for the schedule may ask for that one; of a Kafka that was there before,
    everything that it may still hold is offered.
    """
    if settings.dagster.logs_start:
        return settings
    kept = timedelta(hours=0 if embedded_kafka else settings.kafka.retention_h)
    start = first_start(settings.home, now) - timedelta(hours=1) - kept
    dagster = settings.dagster.model_copy(update={"logs_start": f"{start:%Y-%m-%d-%H:00}"})
    return settings.model_copy(update={"dagster": dagster})


def first_start(home: Path, now: datetime) -> datetime:
    """When this prepared home was first started, in UTC; recorded once.

    A home that is older than the record has its mark, which was written at its first start.
    """
    file = home / "began.json"
    mark_of(home)
    marked = datetime.fromtimestamp((home / "run" / "mark").stat().st_mtime, UTC)
    with contextlib.suppress(FileExistsError):
        write_new(file, f'{{"at": "{min(marked, now).astimezone(UTC).isoformat()}"}}')
    try:
        return datetime.fromisoformat(read_json(file)["at"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return min(marked, now).astimezone(UTC)
