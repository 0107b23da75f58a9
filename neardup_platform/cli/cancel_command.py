"""`neardup cancel`: cancels a command that waits, or that has stages left."""

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import send_to_worker
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import CancelArguments


@click.command(epilog="Example:  neardup cancel 6f1ed002ab5595859014ebf0951522d9")
@click.argument("command_id")
@json_option
def cancel(command_id: str, as_json: bool) -> int:
    """Cancel a command by the id that was printed when it was sent; finished stages are not undone."""
    settings, arguments = resolve(Settings()), CancelArguments(command_id=command_id)
    return send_to_worker(settings, arguments, as_json, lambda a: f"command {a['cancelled']} cancelled")
