"""The partitions that the group assigns to the reader: where reading continues, which are paused, which are missing.

Used by the reader thread. The client calls the rebalance listener from a thread of its own while `poll` waits for it.
"""

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition

from neardup_platform.kafka.group_client import TOPICS, existing_partitions, rejoin, seek
from neardup_platform.kafka.log_watch import LogWatch, name
from neardup_platform.kafka.read_ahead import ReadAhead
from neardup_platform.wire.topics import CONTROL

log = logging.getLogger(__name__)

# First and longest time between two attempts to get the partitions that exist: another process may have joined.
_REJOIN_S = 5.0
_MAX_REJOIN_S = 60.0


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """The assigned partitions of one client.

    Args:
        group: the consumer group, for the log.
        watch: the partitions that exist.
        ahead: where reading continues.

    Attributes:
        owned: the assigned partitions.
        placing: held while the client moves to the start of a log that was recreated. Its position means nothing
            until then.
    """

    def __init__(self, group: str, watch: LogWatch, ahead: ReadAhead) -> None:
        self._group, self._watch, self._ahead = group, watch, ahead
        self._consumer: Any = None
        # Whether embeddings and commands are paused; None until that is set after an assignment.
        self._paused: tuple[bool, bool] | None = None
        self._rejoin_at, self._rejoin_s = time.monotonic() + _REJOIN_S, _REJOIN_S
        self.owned: set[TopicPartition] = set()
        self.placing = threading.Lock()

    def subscribe(self, consumer: Any) -> None:
        """Join the group with a new client.

        Raises:
            KafkaError: the broker does not answer.
        """
        self._consumer = consumer
        self.owned, self._paused = set(), None
        self._rejoin_at = time.monotonic() + _REJOIN_S
        consumer.subscribe(topics=TOPICS, listener=self)

    @property
    def unread(self) -> frozenset[TopicPartition]:
        """Partitions that exist and are not read."""
        return self._watch.partitions - self.owned

    def seek(self, partitions: Iterable[TopicPartition]) -> None:
        """Have the client continue where `ahead` says."""
        for partition in self.owned.intersection(partitions):
            offset = self._ahead.next_to_read(partition)
            if offset is None:
                self._consumer.seek_to_beginning(partition)
            else:
                seek(self._consumer, partition, offset, self._ahead.log_of(partition).epoch)

    def seek_replaced(self) -> None:
        """Compare the client's metadata with what was read, and start over in logs that were replaced."""
        with self.placing:
            self.seek(self._watch.update(self._consumer))

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Do nothing: positions are in the store, and a partition that comes back continues where reading was."""

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        """Do nothing: the next assignment shows what becomes of the partitions."""

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Continue where reading was. Forget what was read ahead of a partition that went to another member."""
        with self.placing:
            self._place(assigned)

    def _place(self, assigned: set[TopicPartition]) -> None:
        self._watch.update(self._consumer)
        # What was read of a topic that no longer exists cannot be read again, so it is kept.
        gone = {p for p in self.owned - assigned if p in existing_partitions(self._consumer, p.topic)}
        if gone:
            log.warning("partitions went to another member of %s: %s", self._group, ", ".join(map(name, gone)))
            self._ahead.lost(gone)
        for partition in assigned - self.owned:
            if self._ahead.next_to_read(partition) is None:
                log.info("%s is new, it is read from its beginning", name(partition))
        self.owned, self._paused = set(assigned), None
        self.seek(assigned)

    def pause_full(self) -> None:
        """Stop fetching what there is no room for, and resume once there is."""
        ahead = self._ahead
        embeddings, _ = self._paused or (False, False)
        wanted = (ahead.half_full if embeddings else ahead.full), ahead.commands_full
        if wanted == self._paused or not self.owned:
            return
        for paused, of_control in ((wanted[0], False), (wanted[1], True)):
            mine = [p for p in self.owned if (p.topic == CONTROL) is of_control]
            (self._consumer.pause if paused else self._consumer.resume)(*mine)
        self._paused = wanted

    def is_paused(self, partition: TopicPartition) -> bool:
        """Return whether a partition is paused. It counts as paused until that is set after an assignment."""
        embeddings, commands = self._paused or (True, True)
        return commands if partition.topic == CONTROL else embeddings

    def claim(self) -> None:
        """Rejoin the group if it assigned other partitions than those that exist. Before the first assignment, wait."""
        now = time.monotonic()
        if not self.owned or self.owned == self._watch.existing:
            self._rejoin_at, self._rejoin_s = now + _REJOIN_S, _REJOIN_S
        elif now >= self._rejoin_at:
            self._rejoin_s = min(2 * self._rejoin_s, _MAX_REJOIN_S)
            self._rejoin_at = now + self._rejoin_s
            log.info("rejoining %s: %s", self._group, ", ".join(map(name, sorted(self.unread))) or "partitions went")
            rejoin(self._consumer)
