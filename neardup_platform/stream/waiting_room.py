"""Unpaired embeddings: restored from the store at the start, and given up when no partner arrives."""

from collections.abc import Callable, Iterable

import numpy as np
from google.protobuf.message import DecodeError

from neardup_platform.errors import BadMessage, InvariantBroken
from neardup_platform.join.pairing import Pairing, UnpairedEmbedding
from neardup_platform.records import Embedding
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.stream.expiry_report import expiry_report
from neardup_platform.stream.steps import Consumed, WaitingEmbedding
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message
from neardup_platform.wire.topics import KIND_OF_TOPIC

# Given up in one step, each as a dead letter with its bytes. The next steps give up the rest, before more is read.
MOST_GIVEN_UP = 1_000
MOST_GIVEN_UP_BYTES = 8 << 20


def restore_waiting(
    records: Iterable[store_pb.UnpairedRecord], decode: Callable[[Message], Embedding]
) -> tuple[list[WaitingEmbedding], list[tuple[WaitingEmbedding, BadMessage]]]:
    """Read unpaired embeddings from the store.

    Args:
        decode: validates a message.

    Returns:
        Those that wait on, and those that are refused now: an earlier release accepted them, or other settings did.

    Raises:
        InvariantBroken: one is damaged.
    """
    restored, refused = [], []
    for record in records:
        try:
            sent = pb.EmbeddingReady.FromString(record.value)
        except DecodeError as error:
            raise InvariantBroken(
                f"an unpaired embedding in the store is damaged: {error}: `neardup doctor`"
            ) from error
        message = Message(
            record.topic,
            record.partition,
            record.offset,
            sent.image_id.encode(),
            record.value,
            record.replays,
            log=Log(record.log),
        )
        try:
            embedding = decode(message)
        except BadMessage as error:
            kind, nothing = KIND_OF_TOPIC[record.topic], np.zeros(0, np.float32)
            embedding = Embedding(sent.image_id, kind, sent.model_version, nothing, sent.event_time_ms)
            refused.append((UnpairedEmbedding(embedding, message, record.waits_from_ms, message.size), error))
        else:
            restored.append(UnpairedEmbedding(embedding, message, record.waits_from_ms, message.size))
    return restored, refused


class WaitingRoom:
    """Gives up unpaired embeddings, in bounded steps.

    Args:
        pairing: the embeddings that wait.
        refused: restored ones that may not wait any more; they are given up first.
        lateness_ms: how long they wait, of event time.
    """

    def __init__(
        self, pairing: Pairing[Message], refused: list[tuple[WaitingEmbedding, BadMessage]], lateness_ms: int
    ) -> None:
        self._pairing = pairing
        self._refused = refused
        self._lateness_ms = lateness_ms

    @property
    def overdue(self) -> bool:
        """Whether there is something to give up."""
        return bool(self._refused) or self._pairing.overdue

    def give_up(self, consumed: Consumed, now_ms: int) -> None:
        """Give up as many as one step may. Expiry goes before eviction, so that the bound changes no result.

        Args:
            consumed: receives what leaves the waiting room.
            now_ms: the clock, Unix milliseconds.
        """
        refused, self._refused = self._refused[:MOST_GIVEN_UP], self._refused[MOST_GIVEN_UP:]
        for unpaired, error in refused:
            consumed.left.append(unpaired)
            consumed.dead.append((unpaired.origin, error))
            consumed.count("dead_lettered")
        most = MOST_GIVEN_UP - len(refused)
        expired = self._pairing.expire(most, MOST_GIVEN_UP_BYTES)
        evicted = self._pairing.evict(most - len(expired), MOST_GIVEN_UP_BYTES)
        given_up = [(unpaired, "expired") for unpaired in expired] + [(unpaired, "evicted") for unpaired in evicted]
        details = {
            "expired": f"no partner before the watermark had advanced {self._lateness_ms / 1_000:g} s past its arrival",
            "evicted": "the waiting room was full (join.max_waiting, join.max_waiting_mb)",
        }
        for unpaired, reason in given_up:
            consumed.left.append(unpaired)
            consumed.dead.append((unpaired.origin, BadMessage(reason, details[reason])))
            consumed.count(reason)
        if given_up:
            consumed.report = expiry_report(given_up, self._pairing.watermark_ms, self._lateness_ms, now_ms)
