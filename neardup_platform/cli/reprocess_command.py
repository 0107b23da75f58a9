"""`neardup reprocess`: decides all images again by the active rules."""

from typing import Any

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import send_to_worker, wait_option
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
    return send_to_worker(resolve(Settings()), ReprocessArguments(), as_json, _describe, timeout_s if wait else None)


def _describe(answer: dict[str, Any]) -> str:
    return (
        f"{answer['images']} images decided again by classifier {answer['classifier']}: {answer['changed']} in another "
        f"cluster, {answer['clusters']} clusters instead of {answer['clusters_before']}; "
        "`neardup rollback --undo` reverts it"
    )
