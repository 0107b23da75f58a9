"""Sends commands to the worker and waits for their results, for the command line, the API and Dagster.

Command → control topic → worker → result topic → **caller**. The worker may be on another machine, or not running yet;
the command then waits in the topic.
"""

import time
from collections.abc import Mapping
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


def send_command(settings: KafkaSettings, command: pb.Command) -> None:
    """Publish a command to the control topic.

    Raises:
        ServerUnavailable: Kafka does not accept it.
    """
    try:
        producer = make_producer(settings, linger_ms=0)
        try:
            future = producer.send(CONTROL, key=command.command_id.encode(), value=command.SerializeToString())
            future.get(timeout=ACKNOWLEDGE_S)
        finally:
            producer.close(timeout=ACKNOWLEDGE_S)
    except KafkaError as error:
        raise ServerUnavailable(f"Kafka at {settings.bootstrap} did not accept the command: {error}") from error


def run_command(settings: KafkaSettings, command: pb.Command, timeout_s: float) -> pb.CommandResult:
    """Send a command and wait for its result.

    Raises:
        ServerUnavailable: Kafka does not answer, or no result arrives in time; the command stays in the topic.
    """
    try:
        consumer = KafkaConsumer(**reading(settings))
        try:
            partitions = _seek_to_end(consumer)
            send_command(settings, command)
            return _await_result(consumer, partitions, command, timeout_s)
        finally:
            consumer.close()
    except KafkaError as error:
        raise ServerUnavailable(f"no Kafka broker at {settings.bootstrap}: {error}") from error


def _seek_to_end(consumer: Any) -> list[TopicPartition]:
    numbers = sorted(consumer.partitions_for_topic(CONTROL_RESULTS) or ())
    if not numbers:
        raise ServerUnavailable(f"there is no topic {CONTROL_RESULTS}: run `neardup up`")
    partitions = [TopicPartition(CONTROL_RESULTS, number) for number in numbers]
    consumer.assign(partitions)
    for partition, end in consumer.end_offsets(partitions).items():
        consumer.seek(partition, end)
    return partitions


def _await_result(
    consumer: Any, partitions: list[TopicPartition], command: pb.Command, timeout_s: float
) -> pb.CommandResult:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        polled = consumer.poll(timeout_ms=_POLL_MS)
        for partition in partitions:
            for record in polled.get(partition, ()):
                result = _result(record.value)
                if result is not None and result.command_id == command.command_id:
                    return result
    raise ServerUnavailable(
        f"no result of command {command.command_id} ({command.name}) within {timeout_s:.0f} s: is the worker running "
        "(`neardup status`)? The command waits in the topic for a day and will be carried out when the worker reads it"
    )


def _result(value: bytes | None) -> pb.CommandResult | None:
    try:
        return pb.CommandResult.FromString(value or b"")
    except DecodeError:
        return None
