"""Which topics are logged, and how a record becomes a row: the fields of its message, then its place in the topic.

Arrow is imported when a schema or a table is made, so that Dagster can name the logs without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neardup_platform.records import Kind
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire import topics

if TYPE_CHECKING:
    import pyarrow as pa

    from neardup_platform.kafka.record_block import LogRecord, RecordBlock


@dataclass(frozen=True)
class TopicLog:
    """The log of a topic.

    Attributes:
        name: of its folder under `logs/`, and of its asset.
        topic: in Kafka.
        message: class of its messages.
        identity: a field that no message lacks.
        about: what a row is.
    """

    name: str
    topic: str
    message: Any
    identity: str
    about: str

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns of its Parquet files."""
        from neardup_platform.topic_logs.message_rows import log_schema

        return log_schema(self.message.DESCRIPTOR)

    def table(self, records: "Sequence[LogRecord] | RecordBlock") -> "pa.Table":
        """Rows of `schema`, in the order of `records`.

        A record that is no such message keeps its row, with null in every column of the message: it must not look
        like a gap, or prevent the hour from being materialised.
        """
        from neardup_platform.kafka.record_block import RecordBlock, block_of
        from neardup_platform.topic_logs.log_table import log_table

        block = records if isinstance(records, RecordBlock) else block_of(records)
        return log_table(self.message, self.identity, self.schema, block)


DECISIONS = TopicLog("decisions", topics.DECISIONS, pb.Decision, "event_id", "a decision about an image")
DEBUG = TopicLog("debug", topics.DEBUG, pb.DebugDetail, "event_id", "a micro-batch of decisions with its timings")
LSH_EMBEDDINGS = TopicLog(
    "embeddings_lsh", topics.EMBEDDINGS[Kind.LSH], pb.EmbeddingReady, "image_id", "an `lsh` embedding as announced"
)
PAIR_EMBEDDINGS = TopicLog(
    "embeddings_pair", topics.EMBEDDINGS[Kind.PAIR], pb.EmbeddingReady, "image_id", "a `pair` embedding as announced"
)
DEAD_LETTERS = TopicLog("dead_letters", topics.DEAD_LETTER, pb.DeadLetter, "event_id", "a message that was refused")
EXPIRIES = TopicLog(
    "expiries",
    topics.JOIN_REPORT,
    pb.ExpiryReport,
    "event_id",
    "a report of embeddings that left the waiting room unpaired",
)
COMMANDS = TopicLog("commands", topics.CONTROL, pb.Command, "command_id", "a command as it was sent")
COMMAND_RESULTS = TopicLog(
    "command_results", topics.CONTROL_RESULTS, pb.CommandResult, "command_id", "the result of a command"
)

LOGS = (
    DECISIONS,
    DEBUG,
    LSH_EMBEDDINGS,
    PAIR_EMBEDDINGS,
    DEAD_LETTERS,
    EXPIRIES,
    COMMANDS,
    COMMAND_RESULTS,
)
