"""`neardup reprocess`: decides all images again by the active rules."""

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import send_to_worker, wait_option
from neardup_platform.operations.in_words import reprocess_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import ReprocessArguments


@click.command(epilog="Example:  neardup classifier promote 0123456789ab && neardup reprocess")
@wait_option
@click.option(
    "--timeout", "timeout_s", type=float, default=86_400.0, show_default=True, help="Seconds to wait with --wait."
)
@json_option
def reprocess(wait: bool, timeout_s: float, as_json: bool) -> int:
    """Decide all images again by the active classifier, thresholds and overrides while the stream runs."""
    settings, bound_s = resolve(Settings()), timeout_s if wait else None
    return send_to_worker(settings, ReprocessArguments(), as_json, reprocess_in_words, bound_s)
