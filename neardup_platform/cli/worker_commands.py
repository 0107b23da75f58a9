"""Sends commands to the worker on the control topic and prints its result from the result topic."""

import getpass
from collections.abc import Callable
from typing import Any

import click

from neardup_platform.cli.output import emit, report
from neardup_platform.errors import NeardupError
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import CommandArguments

wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the worker's answer.")
timeout_option = click.option(
    "--timeout", "timeout_s", type=float, default=600.0, show_default=True, help="Seconds to wait with --wait."
)

SHORT_S = 60.0


def send_to_worker(
    settings: Settings,
    arguments: CommandArguments,
    as_json: bool,
    human: Callable[[dict[str, Any]], str],
    timeout_s: float | None = SHORT_S,
) -> int:
    """Send a command and print its result.

    Args:
        settings: resolved.
        arguments: see docs/control-commands.md.
        human: the answer in words: `command_id`, `sequence` and the values of the result.
        timeout_s: how long to wait for the result; None returns without waiting.

    Returns:
        The exit status: 1 if the worker refused.

    Raises:
        NeardupError: the worker refused and the answer is not printed as JSON, or the worker did not answer.
    """
    # Importing kafka-python takes time, and most commands do not need it.
    from neardup_platform.operations.kafka_carry_out import Issuer, carry_out, send

    issuer = Issuer(getpass.getuser())
    if timeout_s is None:
        emit({"command_id": send(settings, arguments, issuer)}, as_json, lambda a: f"sent as command {a['command_id']}")
        return 0
    answer = carry_out(settings, arguments, issuer, timeout_s, report)
    if not answer.accepted and not as_json:
        raise NeardupError(answer.reason)
    emit(answer.flat(), as_json, human)
    return 0 if answer.accepted else 1
