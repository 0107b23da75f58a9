"""Hours of the decisions log, as they are named on the command line and in run configurations. Pure."""

from datetime import UTC, datetime, timedelta

from neardup_platform.errors import BadCommand

DEFAULT_HOURS = 24
MAX_HOURS = 31 * 24
HOURS_HELP = (
    "FROM..TO in UTC, TO exclusive, as 2026-01-31T12..2026-02-01T00; one hour as 2026-01-31T12; at most 744 hours. "
    "Default: the last 24 hours, the present one included."
)
_HOUR = timedelta(hours=1)


def parse_hours(text: str, now: datetime) -> list[datetime]:
    """Returns the starts of the hours named, ascending.

    Args:
        text: `FROM..TO`, one hour, or empty for the last 24 hours.
        now: with time zone.

    Raises:
        BadCommand: it names no hours, or too many.
    """
    if not text:
        end = _floor(now) + _HOUR
        return _between(end - DEFAULT_HOURS * _HOUR, end)
    first, dots, last = text.partition("..")
    try:
        begin = _hour(first)
        end = _hour(last) if dots else begin + _HOUR
    except ValueError as error:
        raise BadCommand(f"hours are {text!r}: {HOURS_HELP}") from error
    if not begin < end <= begin + MAX_HOURS * _HOUR:
        raise BadCommand(f"hours are {text!r}, which is no hour or more than {MAX_HOURS}: {HOURS_HELP}")
    return _between(begin, end)


def _hour(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return _floor(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _between(begin: datetime, end: datetime) -> list[datetime]:
    return [begin + n * _HOUR for n in range((end - begin) // _HOUR)]
