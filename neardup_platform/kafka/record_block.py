"""Records of one topic as arrays: what batch work reads, without a Python object for each record. Pure.

| array | of record n |
|---|---|
| `partitions`, `offsets`, `timestamps_ms` | its place, and its Kafka timestamp in Unix milliseconds |
| `data[starts[n]:ends[n]]` | its value; empty where the record has none |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class LogRecord(NamedTuple):
    """One record of the log. `timestamp_ms` is its Kafka timestamp, Unix milliseconds."""

    partition: int
    offset: int
    timestamp_ms: int
    value: bytes


@dataclass(frozen=True, slots=True)
class RecordBlock:
    """Some records, in the order of their offsets.

    Attributes:
        partitions: int32 [n].
        offsets, timestamps_ms: int64 [n].
        data: uint8, the values, with other bytes between them.
        starts, ends: int64 [n], places in `data`.
    """

    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: Any) -> "RecordBlock":
        """The records of a slice or a mask, of the same data."""
        return RecordBlock(
            self.partitions[rows],
            self.offsets[rows],
            self.timestamps_ms[rows],
            self.data,
            self.starts[rows],
            self.ends[rows],
        )

    def value(self, row: int) -> bytes:
        """The value of a record."""
        return self.data[self.starts[row] : self.ends[row]].tobytes()


def block_of(records: Sequence[LogRecord]) -> RecordBlock:
    """Records as a block."""
    ends = np.cumsum([len(record.value) for record in records], dtype=np.int64)
    return RecordBlock(
        np.array([record.partition for record in records], np.int32),
        np.array([record.offset for record in records], np.int64),
        np.array([record.timestamp_ms for record in records], np.int64),
        np.frombuffer(b"".join(record.value for record in records), np.uint8),
        ends - np.array([len(record.value) for record in records], np.int64),
        ends,
    )


def joined(blocks: Sequence[RecordBlock]) -> RecordBlock:
    """Blocks one after another, as one."""
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        return block_of(())
    sizes = np.array([len(block.data) for block in blocks])
    bases = np.cumsum(sizes) - sizes
    return RecordBlock(
        np.concatenate([block.partitions for block in blocks]),
        np.concatenate([block.offsets for block in blocks]),
        np.concatenate([block.timestamps_ms for block in blocks]),
        np.concatenate([block.data for block in blocks]),
        np.concatenate([block.starts + base for block, base in zip(blocks, bases, strict=True)]),
        np.concatenate([block.ends + base for block, base in zip(blocks, bases, strict=True)]),
    )
