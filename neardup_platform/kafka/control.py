"""Sends commands to the worker and waits for their results, for the command line, the API and Dagster.

Command → control topic → worker → result topic → **caller**. The worker may be on another machine, or not running yet;
the command then waits in the topic.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from google.protobuf.message import DecodeError
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from neardup_platform.errors import PermanentError, ServerUnavailable
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.topics import reading
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_bounds import oversized
from neardup_platform.wire.topics import CONTROL, CONTROL_RESULTS

ACKNOWLEDGE_S = 30.0
_POLL_MS = 200
# How often a caller hears that it is still waiting.
_WAITING_EVERY_S = 15.0

# Called with the number of results that are missing, and the seconds waited so far.
Waiting = Callable[[int, float], None]


def new_command(name: str, arguments: Mapping[str, str], issued_by: str, command_id: str = "") -> pb.Command:
    """Return a command issued now.

    Args:
        name: a command that the worker knows (docs/reference/control-commands.md).
        issued_by: who is responsible for it.
        command_id: the worker carries out an id once, however often it is sent; empty draws a new one.

    Raises:
        PermanentError: a field is too large; the text names it, its size and the bound.
    """
    command = pb.Command(
        command_id=command_id or uuid4().hex,
        name=name,
        arguments=arguments,
        issued_by=issued_by,
        issued_ms=time.time_ns() // 1_000_000,
    )
    if problem := oversized(command):
        raise PermanentError(f"the command cannot be sent: {problem}")
    return command


def send_commands(settings: KafkaSettings, commands: Sequence[pb.Command]) -> None:
    """Publish commands to the control topic, in order.

    Raises:
        ServerUnavailable: Kafka does not accept one; those before it may be carried out.
    """
    try:
        producer = make_producer(settings, linger_ms=0)
        try:
            futures = [
                producer.send(CONTROL, key=command.command_id.encode(), value=command.SerializeToString())
                for command in commands
            ]
            for future in futures:
                future.get(timeout=ACKNOWLEDGE_S)
        finally:
            producer.close(timeout=ACKNOWLEDGE_S)
    except KafkaError as error:
        raise ServerUnavailable(f"Kafka at {settings.bootstrap} did not accept the command: {error}") from error


def send_command(settings: KafkaSettings, command: pb.Command) -> None:
    """Publish one command; see `send_commands`."""
    send_commands(settings, [command])


def run_commands(
    settings: KafkaSettings, commands: Sequence[pb.Command], timeout_s: float, waiting: Waiting = lambda _, __: None
) -> list[pb.CommandResult]:
    """Send commands in order and wait for the results.

    Args:
        commands: with different ids.
        timeout_s: for all of them together.
        waiting: called from time to time.

    Returns:
        A result for each command, in their order.

    Raises:
        ServerUnavailable: Kafka does not answer, or a result does not arrive in time; the commands stay in the topic.
    """
    try:
        consumer = KafkaConsumer(**reading(settings))
        try:
            partitions = _seek_to_end(consumer)
            send_commands(settings, commands)
            return _await_results(consumer, partitions, commands, timeout_s, waiting)
        finally:
            consumer.close()
    except KafkaError as error:
        raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error


def run_command(settings: KafkaSettings, command: pb.Command, timeout_s: float) -> pb.CommandResult:
    """Send one command and wait for its result; see `run_commands`."""
    (result,) = run_commands(settings, [command], timeout_s)
    return result


def _seek_to_end(consumer: Any) -> list[TopicPartition]:
    numbers = sorted(consumer.partitions_for_topic(CONTROL_RESULTS) or ())
    if not numbers:
        raise ServerUnavailable(f"there is no topic {CONTROL_RESULTS}: run `neardup up`")
    partitions = [TopicPartition(CONTROL_RESULTS, number) for number in numbers]
    consumer.assign(partitions)
    for partition, end in consumer.end_offsets(partitions).items():
        consumer.seek(partition, end)
    return partitions


def _await_results(
    consumer: Any,
    partitions: list[TopicPartition],
    commands: Sequence[pb.Command],
    timeout_s: float,
    waiting: Waiting,
) -> list[pb.CommandResult]:
    found: dict[str, pb.CommandResult] = {}
    missing = {command.command_id: command.name for command in commands}
    started = time.monotonic()
    next_report_s = _WAITING_EVERY_S
    while missing and (waited_s := time.monotonic() - started) < timeout_s:
        if waited_s >= next_report_s:
            waiting(len(missing), waited_s)
            next_report_s += _WAITING_EVERY_S
        polled = consumer.poll(timeout_ms=_POLL_MS)
        for partition in partitions:
            for record in polled.get(partition, ()):
                result = _result(record.value)
                if result is not None and missing.pop(result.command_id, None) is not None:
                    found[result.command_id] = result
    if not missing:
        return [found[command.command_id] for command in commands]
    (command_id, name), more = next(iter(missing.items())), len(missing) - 1
    raise ServerUnavailable(
        f"no result of command {command_id} ({name}){f' and {more} more' if more else ''} within {timeout_s:.0f} s: "
        "is the worker running (`neardup status`)? The command waits in the topic for a day and will be carried out "
        "when the worker reads it"
    )


def _result(value: bytes | None) -> pb.CommandResult | None:
    try:
        return pb.CommandResult.FromString(value or b"")
    except DecodeError:
        return None
