"""When the platform of a home was first started, so that Dagster lists no hours without logs."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from neardup_platform.files import create_file, read_json
from neardup_platform.settings import Settings
from neardup_platform.supervise.home import mark_of


def with_logs_start(settings: Settings, embedded_kafka: bool, now: datetime) -> Settings:
    """Settings that name the first hour of the logs, if the user has not set it.

    It is the hour before the first start, because the schedule may request that one. For an external Kafka that existed
    before, it goes back as far as the broker may keep messages.
    """
    if settings.dagster.logs_start:
        return settings
    kept = timedelta(hours=0 if embedded_kafka else settings.kafka.retention_h)
    start = first_start(settings.home, now) - timedelta(hours=1) - kept
    dagster = settings.dagster.model_copy(update={"logs_start": f"{start:%Y-%m-%d-%H:00}"})
    return settings.model_copy(update={"dagster": dagster})


def first_start(home: Path, now: datetime) -> datetime:
    """When this prepared home was first started, in UTC; recorded once.

    A home older than this record has its mark, which was written at its first start.
    """
    file = home / "began.json"
    mark_of(home)
    marked = datetime.fromtimestamp((home / "run" / "mark").stat().st_mtime, UTC)
    with contextlib.suppress(FileExistsError):
        create_file(file, f'{{"at": "{min(marked, now).astimezone(UTC).isoformat()}"}}')
    try:
        return datetime.fromisoformat(read_json(file)["at"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return min(marked, now).astimezone(UTC)
