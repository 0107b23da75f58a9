"""The present hour, for tests whose messages all belong to one."""

import time
from datetime import UTC, datetime, timedelta


def hour_that_lasts(seconds: float) -> datetime:
    """The start of the present hour. One that ends within so many seconds is waited out."""
    coming = datetime.now(UTC) + timedelta(seconds=seconds)
    begin = coming.replace(minute=0, second=0, microsecond=0)
    time.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds()))
    return begin
