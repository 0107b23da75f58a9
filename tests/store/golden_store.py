"""Builds a small store with every kind of record, and saves it as a file: one JSON object per key, gzipped.

    python -m tests.store.golden_store tests/store/data/store-format-4.jsonl.gz

A file is written once, by the version whose stores it represents, and never again.
"""

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as ProtoMessage
from rocksdict import Rdict

from neardup_platform.errors import BadMessage
from neardup_platform.join.pairing import UnpairedEmbedding
from neardup_platform.kafka.publisher import Settled
from neardup_platform.records import Embedding, Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, open_checkpoint, rocksdb_options
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import Consumed, StreamStep
from neardup_platform.testing import LSH_DIM, PAIR_DIM, InMemoryWorker, families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message, encode_embedding
from neardup_platform.wire.topics import CONTROL, DEAD_LETTER, EMBEDDINGS

NOW_MS = 1_700_000_000_000
IMAGES = families(6, 4)
MESSAGES: dict[Table, type[ProtoMessage]] = {
    Table.STATE: store_pb.StoreState,
    Table.POSITIONS: store_pb.Position,
    Table.WAITING: store_pb.UnpairedRecord,
    Table.IMAGES: store_pb.ImageRecord,
    Table.CLUSTERS: store_pb.ClusterRecord,
    Table.HISTORY: pb.Decision,
    Table.VECTORS: store_pb.VectorRecord,
    Table.OUTBOX: store_pb.OutboxEntry,
    Table.COMMANDS: store_pb.CommandRecord,
    Table.PROMOTIONS: store_pb.Promotion,
    Table.OVERRIDES: store_pb.Override,
    Table.REDIRECTS: store_pb.Redirect,
    Table.FORGOTTEN: store_pb.Forgotten,
    Table.PROGRESS: store_pb.CommandProgress,
    Table.CHANGED: pb.Decision,
    Table.KEPT: store_pb.OutboxEntry,
}


def records(store: StoreView) -> Iterator[dict[str, object]]:
    """Yield every key and value as hex, with the message in the value as JSON."""
    for table in Table:
        for key, value in store.scan(table):
            message = MESSAGES[table].FromString(value) if table in MESSAGES else None
            fields = None if message is None else MessageToDict(message, preserving_proto_field_name=True)
            yield {"table": table.name, "key": key.hex(), "value": value.hex(), "fields": fields}


def read(path: Path) -> list[dict[str, object]]:
    """Return the records of a file."""
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def restore(kept: list[dict[str, object]], folder: Path) -> None:
    """Create a store from records, byte for byte."""
    with closing(Rdict(str(folder), rocksdb_options())) as db:
        for record in kept:
            key = Table[str(record["table"])].value + bytes.fromhex(str(record["key"]))
            db[key] = bytes.fromhex(str(record["value"]))


def build(home: Path) -> None:
    """Build clusters, overrides, a handover, a forgotten image, a newer vector, and the state of the stream."""
    with closing(InMemoryWorker(home)) as worker:
        worker.decide(IMAGES)
        head = next(iter(worker.store.scan(Table.RECENT)))[0][8:].decode()
        others = [image.image_id for image in IMAGES if image.image_id.split("/")[0] != head.split("/")[0]]
        worker.run_command("override", command_id="link", action="move", image_id=others[0], other_id=others[1])
        worker.run_command("override", command_id="alone", action="alone", image_id=others[2])
        worker.run_command("override", command_id="forbid", action="forbid", image_id=others[3], other_id=others[4])
        newer = np.random.default_rng(1).standard_normal(LSH_DIM).astype(np.float32)
        worker.re_embed(Embedding(others[5], Kind.LSH, "test", newer, NOW_MS))
        worker.run_command("forget", command_id="forget", image_id=head, apply=False)
        _commit_stream(worker.store)
        _put_the_rest(worker.store)


def _commit_stream(store: Store) -> None:
    consumed = Consumed(
        positions={(EMBEDDINGS[Kind.LSH], 1): 40, (EMBEDDINGS[Kind.PAIR], 0): 39, (CONTROL, 0): 5},
        logs={(EMBEDDINGS[Kind.LSH], 1): Log("a" * 32, 3), (EMBEDDINGS[Kind.PAIR], 0): Log("b" * 32, -1)},
        clocks={(EMBEDDINGS[Kind.LSH], 1): NOW_MS, (EMBEDDINGS[Kind.PAIR], 2): NOW_MS - 5},
        entered=[_unpaired("early", Kind.LSH, LSH_DIM, 38), _unpaired("early too", Kind.PAIR, PAIR_DIM, 37)],
        dead=[(Message(EMBEDDINGS[Kind.LSH], 1, 39, b"key", b"\xff", replays=1), BadMessage("garbage", "no message"))],
        counts={"received": 79, "dead_lettered": 1},
    )
    entries = [(layout.number_of(key), len(value)) for key, value in store.scan(Table.OUTBOX)]
    commit(store, store.state(), StreamStep(consumed), NOW_MS, [Settled(number, size) for number, size in entries[:-6]])


def _unpaired(image_id: str, kind: Kind, dim: int, offset: int) -> UnpairedEmbedding[Message]:
    vector = np.random.default_rng(offset).standard_normal(dim).astype(np.float32)
    embedding = Embedding(image_id, kind, "test", vector, NOW_MS)
    value = encode_embedding(embedding)
    message = Message(EMBEDDINGS[kind], 1, offset, image_id.encode(), value, log=Log("a" * 32, 3))
    return UnpairedEmbedding(embedding, message, NOW_MS)


def _put_the_rest(store: Store) -> None:
    """Write the records of a long command, a promotion, a refused dead letter and a pause."""
    batch, state = Batch(), store.state()
    promotion = store_pb.Promotion(version="v2", replaced="v1", command_id="p", issued_by="a test", forced=True)
    batch.put(Table.PROMOTIONS, layout.number_key(2), promotion.SerializeToString())
    progress = store_pb.CommandProgress(done=7, counts={"decided": 7}, of=b"\x01\x02")
    batch.put(Table.PROGRESS, b"long", progress.SerializeToString())
    batch.put(
        Table.PROGRESS, layout.commands_read_key(CONTROL, 0), store_pb.CommandProgress(done=5).SerializeToString()
    )
    ahead = store_pb.CommandProgress(done=2, of=b"long")
    batch.put(Table.PROGRESS, layout.AHEAD_KEY, ahead.SerializeToString())
    batch.put(Table.PROGRESS, layout.DEFERRED_PREFIX + b"link", b"")
    entry = store_pb.OutboxEntry(topic=DEAD_LETTER, key=b"k", value=b"v")
    batch.put(Table.KEPT, layout.number_key(3), entry.SerializeToString())
    _, decision = next(store.scan(Table.HISTORY))
    batch.put(Table.CHANGED, pb.Decision.FromString(decision).image_id.encode(), decision)
    state.paused.CopyFrom(store_pb.Pause(by="a test", at_ms=NOW_MS, command_id="pause"))
    state.classifier_version = "v2"
    state.counters["unpublishable_kept"] = 1
    batch.put_state(state)
    store.write(batch)


def main(path: Path) -> None:
    """Build a store and save it."""
    with tempfile.TemporaryDirectory() as home:
        build(Path(home))
        with closing(open_checkpoint(Path(home) / "store")) as store, gzip.GzipFile(path, "wb", mtime=0) as file:
            for record in records(store):
                file.write(json.dumps(record).encode() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
