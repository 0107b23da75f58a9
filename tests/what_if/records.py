"""Decisions as the log holds them, for tests of what reads it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.what_if.duckdb_recorded import read_recorded
from neardup_platform.what_if.recorded import Recorded
from neardup_platform.wire import neardup_pb2 as pb

TABLES = 255


def decision(
    number: int,
    image: str,
    head: str = "",
    candidates: Sequence[tuple[str, float, str]] = (),
    **fields: Any,
) -> pb.Decision:
    """A decision; candidates are (image, score, head), best first."""
    given = {
        "event_id": f"event-{number}",
        "sequence": number,
        "image_id": image,
        "head": head or image,
        "head_score": 1.0,
        "threshold": 0.8,
        "head_threshold": 0.4,
        "terms_version": f"{TABLES}x8-abc",
        "classifier_version": "c" * 12,
        "decided_ms": number,
        "corpus_images": number - 1,
        **fields,
    }
    listed = [pb.Candidate(image_id=one, score=score, head=its, overlap=3) for one, score, its in candidates]
    return pb.Decision(candidates=listed, **given)


def log_records(decisions: Iterable[pb.Decision]) -> list[LogRecord]:
    """The decisions as records of a topic."""
    return [LogRecord(0, n, 1_000, each.SerializeToString()) for n, each in enumerate(decisions)]


def parquet(folder: Path, decisions: Iterable[pb.Decision], name: str = "log") -> Path:
    """A file of the decisions log."""
    file = folder / f"{name}.parquet"
    pq.write_table(LOG.table(log_records(decisions)), file)
    return file


def recorded(folder: Path, decisions: Iterable[pb.Decision], least_score: float = 0.0) -> Recorded:
    """The decisions as columns."""
    return read_recorded([parquet(folder, decisions)], folder, least_score)


def clusters(recorded_: Recorded, heads: Sequence[int]) -> Mapping[str, str]:
    """Image id → head id of every node."""
    return dict(zip(recorded_.ids.to_pylist(), recorded_.names(heads), strict=True))
