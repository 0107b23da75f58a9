"""Messages of `neardup.decisions` as rows of an Arrow table. Pure."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from neardup_platform.kafka.window import LogRecord
from neardup_platform.wire import neardup_pb2 as pb

_CANDIDATE = pa.struct(
    [
        ("image_id", pa.string()),
        ("overlap", pa.uint32()),
        ("score", pa.float32()),
        ("head", pa.string()),
        ("kind", pa.string()),
    ]
)
_HELD_APART = pa.struct(
    [
        ("reason", pa.string()),
        ("head", pa.string()),
        ("agreed", pa.uint32()),
        ("compared", pa.uint32()),
        ("size", pa.uint64()),
    ]
)
_LABEL = pa.struct([(name, pa.string()) for name in ("label_id", "bank", "image_id", "policy", "action")])
# The fields of the Decision message under the same names, then the place of the message in the log.
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("sequence", pa.uint64()),
        ("image_id", pa.string()),
        ("head", pa.string()),
        ("score", pa.float32()),
        ("head_score", pa.float32()),
        ("candidates", pa.list_(_CANDIDATE)),
        ("candidates_found", pa.uint32()),
        ("bridges", pa.list_(pa.string())),
        ("threshold", pa.float32()),
        ("head_threshold", pa.float32()),
        ("terms_version", pa.string()),
        ("classifier_version", pa.string()),
        ("event_time_ms", pa.int64()),
        ("decided_ms", pa.int64()),
        ("cause", pa.string()),
        ("override_id", pa.string()),
        ("replaced_head", pa.string()),
        ("guard", _HELD_APART),
        ("kind", pa.string()),
        ("undistinctive", pa.bool_()),
        ("corpus_images", pa.uint64()),
        ("labels", pa.list_(_LABEL)),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("kafka_timestamp", pa.timestamp("ms", tz="UTC")),
    ]
)
# What the columns hold that their names do not say.
DESCRIBED = {
    "event_id": "The same for a decision that is published again.",
    "sequence": "The number of the decision; a higher one replaces a lower one about the same image.",
    "image_id": "The image that was decided.",
    "head": "The image whose id names its cluster; its own if it founded one.",
    "score": "Probability that the image and its best match are near-duplicates.",
    "head_score": "The same with the head.",
    "candidates": "Images found by terms, with the terms they share and their score.",
    "candidates_found": "Images found, those that are not listed included.",
    "bridges": "Heads of other clusters that it matches.",
    "threshold": "The match threshold that applied.",
    "head_threshold": "The threshold against the head that applied.",
    "event_time_ms": "When the image arose, Unix milliseconds.",
    "decided_ms": "When it was decided, Unix milliseconds.",
    "cause": "Why it was decided: its arrival, or a command.",
    "override_id": "The override that decided.",
    "replaced_head": "The head of the cluster that it left.",
    "guard": "The cluster that it was held apart from, and why.",
    "kind": "How it resembles its match: same, altered-copy, same-template.",
    "undistinctive": "Whether the picture is plain or resembles many others.",
    "corpus_images": "Images decided before it, by which thresholds rise.",
    "labels": "Labels of banks on its cluster.",
    "kafka_partition": "Of the message, as are the offset and the time.",
}
_NESTED = ("candidates", "bridges", "guard", "labels")
_SCALARS = [name for name in SCHEMA.names if name not in _NESTED and not name.startswith("kafka_")]


def column_types(schema: pa.Schema) -> list[tuple[str, str]]:
    """Name and type of each column, in order."""
    return [(field.name, str(field.type)) for field in schema]


def decision_table(records: Iterable[LogRecord]) -> pa.Table:
    """Rows of `SCHEMA`, in the order of `records`.

    A message that is not a decision keeps its row, with null in every column of the message: it must not look like a
    gap, or prevent the hour from being materialised.
    """
    return pa.Table.from_pylist([_row(record) for record in records], SCHEMA)


def _row(record: LogRecord) -> dict[str, Any]:
    return {
        **_message_columns(record.value),
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
        "kafka_timestamp": record.timestamp_ms,
    }


def _message_columns(value: bytes) -> dict[str, Any]:
    try:
        decision = pb.Decision.FromString(value)
    except DecodeError:
        return {}
    if not decision.event_id:
        return {}
    return {
        **{name: getattr(decision, name) for name in _SCALARS},
        "candidates": [{field.name: getattr(c, field.name) for field in _CANDIDATE} for c in decision.candidates],
        "bridges": list(decision.bridges),
        "labels": [{field.name: getattr(label, field.name) for field in _LABEL} for label in decision.labels],
        "guard": {field.name: getattr(decision.guard, field.name) for field in _HELD_APART}
        if decision.HasField("guard")
        else None,
    }
