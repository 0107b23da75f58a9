"""Makes a kafka-python consumer return whole record batches, each as one block of arrays.

kafka-python 3.0 checks and decompresses batches at the speed of C, and then makes an object of each record, which takes
it some ten microseconds. Everything but that remains its own: sessions, checksums, transactions, positions.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from kafka.consumer.fetcher import Fetcher
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch

from neardup_platform.kafka.record_block import LogRecord, RecordBlock, block_of
from neardup_platform.kafka.record_kernels import read_records

PassedOver = Callable[[int, int], None]


class _Whole(RecordBlock):
    """The value of the one record that stands for a batch; kafka-python asks for its length."""

    __slots__ = ()


class _WholeBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch with a single record, which is all of them. A malformed one has its records, or their error."""

    __slots__ = ("_partition", "taken")

    def __init__(self, batch: DefaultRecordBatch, partition: int) -> None:
        super().__init__(batch._buffer)  # noqa: SLF001
        self._partition, self.taken = partition, False

    def __iter__(self) -> Iterator[Any]:
        self.taken = True
        self._maybe_uncompress()
        data, count = np.frombuffer(bytes(self._buffer), np.uint8), self.records_count
        offsets, times, starts, ends = (np.zeros(count, np.int64) for _ in range(4))
        if count and read_records(data, self._pos, offsets, times, starts, ends):
            stamps = np.full(count, self.max_timestamp) if self.timestamp_type else self.first_timestamp + times
            partitions = np.full(count, self._partition, np.int32)
            block = _Whole(partitions, self.base_offset + offsets, stamps, data, starts, ends)
            return iter([DefaultRecord(len(data), int(block.offsets[-1]), 0, self.timestamp_type, None, block, [])])
        return super().__iter__()  # type: ignore[no-any-return]


class _Batches:
    """kafka-python's reader of a response, with whole batches.

    Args:
        passed_over: called with the first and the next offset of a batch that the consumer does not want.
    """

    def __init__(self, records: Any, partition: int, passed_over: PassedOver) -> None:
        self._records, self._partition, self._passed_over = records, partition, passed_over
        self._given: _WholeBatch | None = None

    def next_batch(self) -> Any:
        if self._given is not None and not self._given.taken:
            self._passed_over(self._given.base_offset, self._given.next_offset)
        batch, self._given = self._records.next_batch(), None
        if not isinstance(batch, DefaultRecordBatch):
            return batch
        if batch.is_control_batch:
            self._passed_over(batch.base_offset, batch.next_offset)
            return batch
        self._given = _WholeBatch(batch, self._partition)
        return self._given


def read_in_blocks(consumer: Any, passed_over: PassedOver) -> None:
    """Have a consumer return a batch of records as one record, for `as_block`.

    Args:
        passed_over: called with the first and the next offset of what holds no record for a reader: the marker at the
            end of a transaction, and each batch of an aborted one. More than once for a batch that is fetched again.
    """

    class _BlockRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
        def _unpack_records(self, tp: Any, records: Any, *deserializers: Any) -> Any:
            return super()._unpack_records(tp, _Batches(records, tp.partition, passed_over), *deserializers)

    consumer._fetcher.PartitionRecords = _BlockRecords  # noqa: SLF001


def as_block(record: Any) -> RecordBlock:
    """What a consumer of `read_in_blocks` has returned: a batch, or a record of the format before Kafka 0.11."""
    if isinstance(record.value, RecordBlock):
        return record.value
    return block_of([LogRecord(record.partition, record.offset, record.timestamp, record.value or b"")])
