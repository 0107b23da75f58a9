"""Sends commands to the worker on the control topic and prints its result from the result topic."""

import getpass
from collections.abc import Callable, Mapping
from typing import Any

import click

from neardup_platform.cli.output import emit
from neardup_platform.errors import NeardupError
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import CommandArguments

wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the worker's answer.")
timeout_option = click.option(
    "--timeout", "timeout_s", type=float, default=600.0, show_default=True, help="Seconds to wait with --wait."
)

SHORT_S = 60.0

# Values of results that are numbers; on the topic every value is text.
_NUMBERS = {
    "snapshot": ("images", "clusters", "files", "bytes", "uploaded_bytes", "pause_ms", "taken_after", "pruned"),
    "restore": (
        *("replaced_images", "images", "clusters", "embeddings_lost"),
        *("forgotten_again", "overrides_kept", "overrides_unmet"),
    ),
    "reprocess": ("images", "changed", "clusters", "clusters_before"),
    "ingest-segment": ("rows", "bad", "decided", "known", "forgotten"),
    "override": ("decisions",),
    "pause": ("at_ms",),
    "resume": ("at_ms",),
}


def numbers_read(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The values of a command's result, with numbers converted."""
    return {key: _number(value) if key in _NUMBERS.get(name, ()) else value for key, value in values.items()}


def _number(value: str) -> int | float | str:
    """A worker of another version may send something else, which stays text."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def send_to_worker(
    settings: Settings,
    arguments: CommandArguments,
    as_json: bool,
    human: Callable[[dict[str, Any]], str],
    timeout_s: float | None = SHORT_S,
    read: Callable[[Mapping[str, str]], Mapping[str, Any]] | None = None,
) -> int:
    """Send a command and print its result.

    Args:
        settings: resolved.
        arguments: see docs/control-commands.md.
        human: the answer in words: `command_id`, `sequence` and the values of the result.
        timeout_s: how long to wait for the result; None returns without waiting.
        read: converts the values of the result for the answer; None converts numbers only.

    Returns:
        The exit status: 1 if the worker refused.

    Raises:
        NeardupError: the worker refused and the answer is not printed as JSON, or the worker did not answer.
    """
    # Importing kafka-python takes time, and most commands do not need it.
    from neardup_platform.kafka.control import new_command, run_command, send_command

    name = arguments.command
    command = new_command(name, arguments.to_wire(), getpass.getuser())
    if timeout_s is None:
        send_command(settings.kafka, command)
        emit({"command_id": command.command_id}, as_json, lambda a: f"sent as command {a['command_id']}")
        return 0
    result = run_command(settings.kafka, command, timeout_s)
    if not result.accepted and not as_json:
        raise NeardupError(result.reason)
    answer = {
        "command_id": result.command_id,
        "accepted": result.accepted,
        "reason": result.reason,
        "sequence": result.sequence,
        **(read(result.values) if read else numbers_read(name, result.values)),
    }
    emit(answer, as_json, human)
    return 0 if result.accepted else 1
