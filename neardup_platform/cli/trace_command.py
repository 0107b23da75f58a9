"""`neardup trace`: runs a known image through the running pipeline again and reports every intermediate result."""

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import SHORT_S, send_to_worker
from neardup_platform.operations.trace_in_words import trace_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import TraceArguments


@click.command(epilog="Example:  neardup trace bridge--crop.jpg")
@click.argument("image_id")
@click.option("--timeout", "timeout_s", type=float, default=SHORT_S, show_default=True, help="Seconds to wait.")
@json_option
def trace(image_id: str, timeout_s: float, as_json: bool) -> int:
    """Run a decided image through the running pipeline again and report every step; changes nothing."""
    settings = resolve(Settings())
    return send_to_worker(settings, TraceArguments(image_id=image_id), as_json, trace_in_words, timeout_s)
