"""The days and weeks that are reported on, in UTC. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from neardup_platform.errors import BadCommand

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A day, or a week from Monday.

    Attributes:
        begin: midnight, UTC.
    """

    kind: Literal["day", "week"]
    begin: datetime

    @property
    def days(self) -> int:
        """Its length."""
        return 1 if self.kind == "day" else 7

    @property
    def end(self) -> datetime:
        """The beginning of the next one."""
        return self.begin + self.days * _DAY

    @property
    def hours(self) -> list[datetime]:
        """The starts of its hours, ascending."""
        return [self.begin + n * _HOUR for n in range(24 * self.days)]

    @property
    def before(self) -> "Period":
        """The one before."""
        return Period(self.kind, self.begin - self.days * _DAY)

    @property
    def name(self) -> str:
        """As files and commands name it: `2026-11-26`, `2026-W48`."""
        return f"{self.begin:%Y-%m-%d}" if self.kind == "day" else f"{self.begin:%G-W%V}"

    @property
    def title(self) -> str:
        """As people name it."""
        if self.kind == "day":
            return f"{self.begin:%A}, {self.begin.day} {self.begin:%B %Y}"
        last = self.end - _DAY
        first = f"{self.begin.day}" if self.begin.month == last.month else f"{self.begin.day} {self.begin:%B}"
        return f"Week {int(f'{self.begin:%V}')}: {first} to {last.day} {last:%B %Y}"


def day_of(moment: datetime) -> Period:
    """The day that a moment is in."""
    return Period("day", moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))


def week_of(moment: datetime) -> Period:
    """The week that a moment is in."""
    day = day_of(moment).begin
    return Period("week", day - day.weekday() * _DAY)


def parse_period(day: str | None, week: str | None, now: datetime) -> Period:
    """The period that a command names.

    Args:
        day: `2026-11-26`.
        week: `2026-W48`, as ISO 8601 counts weeks. Without either, yesterday.
        now: with time zone.

    Raises:
        BadCommand: it names both, none that exists, or one that has not begun.
    """
    if day and week:
        raise BadCommand(f"day {day!r} and week {week!r} are both given: name one of them")
    try:
        found = day_of(now - _DAY)
        if day:
            found = Period("day", _midnight(datetime.strptime(day, "%Y-%m-%d").date()))  # noqa: DTZ007 -- a date
        if week:
            found = Period("week", _midnight(datetime.strptime(f"{week}-1", "%G-W%V-%u").date()))  # noqa: DTZ007
    except ValueError as error:
        raise BadCommand(f"{day or week!r} is no day or week: expected 2026-11-26, or 2026-W48 for a week") from error
    if found.begin > now:
        raise BadCommand(f"{found.name} has not begun: name an earlier one")
    return found


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
