"""Times in the configuration of a run."""

from datetime import UTC, datetime

from neardup_platform.errors import BadCommand


def moment_ms(name: str, text: str | None) -> int | None:
    """A time in Unix milliseconds, from ISO 8601, in UTC unless it says otherwise; None for none.

    Args:
        name: of the field.

    Raises:
        BadCommand: it is no time.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadCommand(f"{name} is {text!r}, a time such as 2026-01-31T12:00 is expected") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
