"""A log, a store and workers over it that are killed and started again, as the platform does it."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from kafka import KafkaConsumer, TopicPartition

from neardup_platform.kafka.topics import connection
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.view import StoreView
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.testing import eventually
from neardup_platform.wire.topics import CONTROL, DEAD_LETTER, DECISIONS, EMBEDDINGS
from tests.faults.traffic import Sent
from tests.faults.verification import Log, wrong_at_any_moment, wrong_when_settled
from tests.stream.forked_worker import ForkedWorker
from tests.stream.worker_process import PATIENCE_S, log_tail, read_topic, reading, start

FULL, LIGHT = "neardup_platform.cli", "tests.faults.light_worker"


def small_steps(settings: Settings, images: int = 8) -> Settings:
    """Settings with which little input makes many steps."""
    worker = settings.worker.model_copy(update={"max_batch_images": images})
    return settings.model_copy(update={"worker": worker})


def read_log(settings: Settings) -> Log:
    return Log(embeddings_in(settings), read_topic(settings, DECISIONS), read_topic(settings, DEAD_LETTER))


def embeddings_in(settings: Settings) -> int:
    with closing_consumer(settings) as consumer:
        partitions = _partitions(consumer, tuple(EMBEDDINGS.values()))
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    return sum(ends[p] - begins[p] for p in partitions)


def is_settled(settings: Settings, store: StoreView) -> bool:
    """Whether all there is to read is committed, published and acknowledged."""
    return not unsettled(settings, store)


def unsettled(settings: Settings, store: StoreView) -> list[str]:
    """What is not committed, or not published and acknowledged."""
    with closing_consumer(settings) as consumer:
        partitions = _partitions(consumer, (*EMBEDDINGS.values(), CONTROL))
        ends, begins = consumer.end_offsets(partitions), consumer.beginning_offsets(partitions)
    positions = store.positions.next_offsets()
    at = {p: positions.get((p.topic, p.partition), begins[p]) for p in partitions}
    unread = [f"{p.topic}[{p.partition}] is at {at[p]} of {ends[p]}" for p in partitions if at[p] != ends[p]]
    return unread + [f"message {number} is not published" for number, _ in store.outbox.pending()]


@contextmanager
def closing_consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(**connection(settings.kafka), enable_auto_commit=False)
    try:
        yield consumer
    finally:
        consumer.close()


def _partitions(consumer: KafkaConsumer, topics: tuple[str, ...]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic)]


def settle(settings: Settings, module: str = LIGHT) -> None:
    """Run a worker until everything is accounted for."""
    with supervised(settings, module), reading(settings) as reader:
        wait_until_settled(settings, reader)


def wait_until_settled(settings: Settings, reader: SecondaryStore) -> None:
    def settled() -> bool:
        reader.refresh()
        if not is_settled(settings, reader):
            return False
        # A reader that has caught up piece by piece has shown an empty outbox a moment too early.
        with reading(settings) as fresh:
            return is_settled(settings, fresh)

    def why() -> str:
        return (
            f"{unsettled(settings, reader)[:20]}; heartbeat {read_heartbeat(settings.home)}; {log_tail(settings.home)}"
        )

    eventually(settled, why)


@contextmanager
def supervised(settings: Settings, module: str = LIGHT, **more: str) -> Iterator[ForkedWorker]:
    """A worker that must not end by itself."""
    process = start(settings, module=module, more=more)
    try:
        yield process
        assert process.poll() is None, log_tail(settings.home)
    finally:
        process.kill()
        process.wait()


def crash(settings: Settings, at: str, module: str = LIGHT, more: Callable[[], object] = lambda: None) -> None:
    """Run a worker until it is killed at a crash point; the test fails if it never gets there.

    Args:
        more: sends more when the worker has not got there for a while: how many commits are synced, published and
            acknowledged as one depends on the machine.
    """
    process = start(settings, module=module, more={"NEARDUP_CRASH_AT": at})
    try:
        for _ in range(10):
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S / 10)
                break
            more()
        status = process.poll()
    finally:
        process.kill()
        process.wait()
    assert status == -signal.SIGKILL, f"at {at} the worker ended with {status}: {log_tail(settings.home)}"


def kill_at_random(settings: Settings, rng: random.Random, longest_s: float, module: str = LIGHT) -> None:
    """Run a worker and kill it at any moment, its start included."""
    process = start(settings, module=module)
    time.sleep(rng.uniform(0.3, longest_s))
    ended = process.poll()
    os.kill(process.pid, signal.SIGKILL) if ended is None else None
    process.wait()
    assert ended is None, log_tail(settings.home)


def check_moment(settings: Settings) -> None:
    """Nothing is wrong with what a crash left."""
    if not settings.store_path.exists():
        return
    log = read_log(settings)
    with reading(settings) as reader:
        assert list(wrong_at_any_moment(reader, log)) == []


def check_settled(settings: Settings, sent: Sent) -> bytes:
    """Nothing is wrong once all is accounted for; returns the digest."""
    log = read_log(settings)
    with reading(settings) as reader:
        assert list(wrong_when_settled(reader, log, sent)) == []
        return bytes(reader.state().digest)


def listener(address: str) -> psutil.Process:
    """The process that serves an address, `[http://]host:port`, as soon as there is one."""
    port = int(address.rsplit(":", 1)[1])

    def listening() -> set[int]:
        return {c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN" and c.pid}

    (pid,) = eventually(listening, f"nobody serves {address}")
    return psutil.Process(pid)


def home_of(settings: Settings, path: Path) -> Settings:
    return settings.model_copy(update={"home": path})
