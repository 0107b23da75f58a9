"""`neardup cancel`: a command that waits, or has parts to come, is not done or no further."""

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import tell_worker
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings


@click.command(epilog="Example:  neardup cancel 6f1ed002ab5595859014ebf0951522d9")
@click.argument("command_id")
@json_option
def cancel(command_id: str, as_json: bool) -> int:
    """Cancel a command sent to the worker, by the id that sending it printed; what was done stays done."""
    settings, arguments = resolve(Settings()), {"command_id": command_id}
    return tell_worker(settings, "cancel", arguments, as_json, lambda a: f"command {a['cancelled']} cancelled")
