"""Times as options of commands."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[int]):
    """A time, converted to Unix milliseconds: ISO 8601, in UTC by default, or an age such as 90m, 2h, 3d."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert a text; a default is in milliseconds already."""
        if isinstance(value, int):
            return value
        ago = re.fullmatch(r"(\d{1,6})([smhd])", value)
        try:
            moment = (
                datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(value)
            )
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time: use one such as 2026-01-31T12:00, or an age such as 90m, 2h, 3d", param, ctx
            )
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000)
