"""Retries of a step that failed by what may pass; none of one that a person has terminated.

Dagster's own `RetryPolicy` counts an interruption as a failure: a terminated run begins its step again, three times.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

MOST = 3


@contextmanager
def retried(context: dg.AssetExecutionContext, delay_s: float = 10.0) -> Iterator[None]:
    """Have Dagster execute the step again after an error, at most `MOST` times, each after a longer delay.

    Args:
        delay_s: before the first retry; the others wait for three and seven times as long.

    Raises:
        RetryRequested: in place of the error, which is its cause.
        Failure: of what forbids retries.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, dg.Failure) and not error.allow_retries:
            raise
        raise dg.RetryRequested(MOST, delay_s * ((2 << context.retry_number) - 1)) from error
