"""Reports on S3.

s3://{bucket}/quality/report/{day or week}/{2026-11-26 or 2026-W48}/report.html, and its plots as PNG
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.quality_report.period import Period

_TYPES = {"html": "text/html; charset=utf-8", "png": "image/png", "json": "application/json"}


def report_key(period: Period, file: str = "report.html") -> str:
    """The key of a file of a report."""
    return f"quality/report/{period.kind}/{period.name}/{file}"


def put_report(s3: Any, bucket: str, period: Period, files: Mapping[str, bytes]) -> str:
    """Write the files of a report, by name, replacing earlier ones; returns where the page is.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    # The page last: what it stands for is there then.
    for name in sorted(files, key=lambda name: name.endswith(".html")):
        key, kind = report_key(period, name), _TYPES[name.rpartition(".")[2]]
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=files[name], ContentType=kind)
        except (BotoCoreError, ClientError) as error:
            raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
    return f"s3://{bucket}/{report_key(period)}"
