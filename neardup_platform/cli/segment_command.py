"""`neardup ingest-segment`: decides images from a Parquet file between steps of the stream."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option, wait_option
from neardup_platform.counted import counted
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import IngestSegmentArguments


@click.command("ingest-segment", epilog="Example:  neardup ingest-segment corpus-2024.parquet")
@click.argument("segment")
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Skip and count bad rows; without it, a bad row makes the worker refuse the segment.",
)
@wait_option
@timeout_option
@json_option
def ingest_segment(segment: str, skip_bad: bool, wait: bool, timeout_s: float, as_json: bool) -> int:
    """Decide the images of a Parquet file: SEGMENT is a key in the bucket, or a file to upload."""
    settings = resolve(Settings())
    key = _uploaded(settings, Path(segment)) if Path(segment).is_file() else segment
    arguments = IngestSegmentArguments(key=key, skip_bad=skip_bad)
    return send_to_worker(settings, arguments, as_json, _describe, timeout_s if wait else None)


def _uploaded(settings: Settings, file: Path) -> str:
    """Upload a file under a key derived from its content; return the key."""
    from neardup_platform.s3_client import ensure_bucket, open_s3
    from neardup_platform.stream.segments.s3_segments import put_segment

    s3 = open_s3(settings.s3)
    ensure_bucket(s3, settings.s3)
    return put_segment(s3, settings.s3.bucket, file)


def _describe(answer: dict[str, Any]) -> str:
    return (
        f"{counted(answer['rows'], 'row')}: {counted(answer['decided'], 'image')} decided, "
        f"{answer['known']} known already, {answer['conflicting']} known with other vectors, "
        f"{answer['forgotten']} forgotten, {answer['bad']} bad"
    )
