"""Carries out a command: sent to the worker under an id, awaited within a bound, its result read.

Command line or Dagster run → **control topic → worker → result topic** → answer. The worker carries out an id once, so
a caller that gives its own may call again after any failure, and gets the first answer; after a temporary refusal, a
new one.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from neardup_platform.clock import SystemClock
from neardup_platform.kafka.control import new_command, run_commands, send_command
from neardup_platform.operations.result_values import values_read
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import Phase, paused_by, read_heartbeat
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import CancelArguments, CommandArguments

# Hexadecimal digits of the digest that tells commands of one batch apart.
_DIGEST = 16
# Commands sent before their results are awaited.
_BATCH = 1_000

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who gives a command.

    Attributes:
        name: kept with the change, and shown by history and lists.
        command_id: the command is carried out once under it; empty draws a new one.
    """

    name: str
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command.

    Attributes:
        reason: why it was refused; empty if it was accepted.
        temporary: refused for what passes: the same command, sent again, is carried out.
        sequence: of the last decision before it took effect.
        values: what it reports, see docs/reference/control-commands.md.
    """

    command_id: str
    accepted: bool
    reason: str
    sequence: int
    values: Mapping[str, Any]
    temporary: bool = False

    def flat(self) -> dict[str, Any]:
        """Everything in one mapping, as the command line prints it."""
        head = {name: getattr(self, name) for name in ("command_id", "accepted", "reason", "sequence")}
        return {**head, **self.values}


def carry_out(
    settings: Settings,
    arguments: CommandArguments,
    issuer: Issuer,
    timeout_s: float,
    report: Report = lambda _: None,
) -> Answer:
    """Send a command and wait for its result.

    Args:
        settings: resolved.
        timeout_s: how long to wait for the result.
        report: called from time to time with what it waits for.

    Raises:
        ServerUnavailable: Kafka does not answer, or no result arrives in time; the command stays in the topic.
        PermanentError: an argument is too large.
    """
    command = new_command(arguments.command, arguments.to_wire(), issuer.name, issuer.command_id)
    (answer,) = _run(settings, [command], timeout_s, report)
    return answer


def correct_all(
    settings: Settings,
    corrections: Sequence[CommandArguments],
    issuer: Issuer,
    timeout_s: float,
    report: Report = lambda _: None,
) -> list[Answer]:
    """Send commands in order and wait for all results; one that is refused does not stop the others.

    The id of each is that of the issuer and a digest of its arguments, so a repeat with rows added sends only those as
    new commands.

    Args:
        settings: resolved.
        corrections: all different.
        timeout_s: for all of them together.
        report: called from time to time with what it waits for.

    Returns:
        An answer for each, in their order.

    Raises:
        ServerUnavailable, PermanentError: as of `carry_out`.
    """
    batch = issuer.command_id or uuid4().hex
    commands = [
        new_command(each.command, each.to_wire(), issuer.name, f"{batch}-{_digest(each.to_wire())}")
        for each in corrections
    ]
    return _run(settings, commands, timeout_s, report)


def correct_in_batches(
    settings: Settings,
    corrections: Sequence[CommandArguments],
    issuer: Issuer,
    timeout_s: float,
    report: Report = lambda _: None,
) -> list[Answer]:
    """Send any number of commands, in batches; see `correct_all`.

    The worker remembers the results of the latest 10,000 commands. So more than these may only be commands that can be
    carried out twice, such as labels, or that are refused then, such as forgetting.
    """
    deadline_s, answers = time.monotonic() + timeout_s, list[Answer]()
    for at in range(0, len(corrections), _BATCH):
        left_s = max(1.0, deadline_s - time.monotonic())
        answers += correct_all(settings, corrections[at : at + _BATCH], issuer, left_s, report)
        report(f"{len(answers)} of {len(corrections)} commands answered")
    return answers


def send(settings: Settings, arguments: CommandArguments, issuer: Issuer) -> str:
    """Send a command without waiting for its result; returns its id.

    Raises:
        ServerUnavailable: Kafka does not accept it.
        PermanentError: an argument is too large.
    """
    command = new_command(arguments.command, arguments.to_wire(), issuer.name, issuer.command_id)
    send_command(settings.kafka, command)
    return str(command.command_id)


def call_off(settings: Settings, issuer: Issuer) -> str:
    """Cancel the issuer's command, whether it has been sent or not; returns the id of the cancelling command.

    What is finished stays done. Does not wait for the worker.

    Raises:
        ServerUnavailable: Kafka does not accept it.
    """
    return send(settings, CancelArguments(command_id=issuer.command_id), Issuer(issuer.name))


def worker_in_words(settings: Settings, now_ms: int) -> str:
    """What the worker of this home does, as far as its files say."""
    if by := paused_by(settings.home):
        return f"the worker is paused by {by}, and carries out nothing until it is resumed"
    heartbeat = read_heartbeat(settings.home)
    if heartbeat is None or not heartbeat.alive(now_ms, settings.worker.stalled_s):
        return f"no worker runs in {settings.home}: start it, unless it is on another machine"
    if heartbeat.phase is Phase.STARTING:
        return f"the worker is starting: {heartbeat.progress or 'no progress reported'}"
    doing = f" ({heartbeat.progress})" if heartbeat.progress else ""
    return f"the worker runs, {heartbeat.metrics.get('commands_waiting', 0):.0f} unfinished commands{doing}"


def _run(settings: Settings, commands: Sequence[pb.Command], timeout_s: float, report: Report) -> list[Answer]:
    def waiting(missing: int, waited_s: float) -> None:
        what = f"the result of command {commands[0].command_id}" if len(commands) == 1 else f"{missing} results"
        state = worker_in_words(settings, SystemClock().now_ms())
        report(f"waiting for {what} since {waited_s:.0f} s, at most {timeout_s:.0f} s: {state}")

    results = run_commands(settings.kafka, commands, timeout_s, waiting)
    return [_answer(command.name, result) for command, result in zip(commands, results, strict=True)]


def _answer(name: str, result: pb.CommandResult) -> Answer:
    values = values_read(name, result.values)
    return Answer(result.command_id, result.accepted, result.reason, result.sequence, values, result.temporary)


def _digest(arguments: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(arguments), sort_keys=True).encode()).hexdigest()[:_DIGEST]
