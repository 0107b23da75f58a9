"""Claims about the columns of messages: what was written is what the message says, of every topic."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.kafka.record_block import LogRecord
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.parquet_log import write_parquet
from neardup_platform.topic_logs.topic_log import COMMAND_RESULTS, LOGS, PAIR_EMBEDDINGS, TopicLog
from neardup_platform.wire import neardup_pb2 as pb

PICTURES = Path(__file__).parents[2] / "samples" / "pictures"

_VALUES: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 3),
}


def fill(draw: st.DrawFn, message: Any) -> Any:
    """A message with some of its fields set."""
    for field in message.DESCRIPTOR.fields:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            values = st.dictionaries(st.text(max_size=3), _VALUES.get(inner.fields[1].cpp_type, st.text()), max_size=2)
            getattr(message, field.name).update(draw(values))
        elif inner is not None:
            for _ in range(draw(st.integers(0, 2))):
                fill(draw, getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name))
        else:
            text = st.binary(max_size=4) if field.type == FieldDescriptor.TYPE_BYTES else st.text(max_size=4)
            value = _VALUES.get(field.cpp_type, text)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(value, max_size=3)))
            else:
                setattr(message, field.name, draw(value))
    return message


@st.composite
def messages(draw: st.DrawFn) -> tuple[TopicLog, list[Any]]:
    """Some messages of one topic."""
    log = draw(st.sampled_from(LOGS))
    made = [fill(draw, log.message()) for _ in range(draw(st.integers(0, 3)))]
    for message in made:
        setattr(message, log.identity, "x")
    return log, made


def plain(message: Any) -> dict[str, Any]:
    """A message as Python values, by another way than the code under test."""
    shown: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value, inner = getattr(message, field.name), field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            shown[field.name] = dict(value)
        elif inner is not None and field.is_repeated:
            shown[field.name] = [plain(one) for one in value]
        elif inner is not None:
            shown[field.name] = plain(value) if message.HasField(field.name) else None
        elif field.enum_type is not None:
            named = field.enum_type.values_by_number.get(value)
            shown[field.name] = str(value) if named is None else named.name.split("_", 1)[1].lower()
        else:
            shown[field.name] = list(value) if field.is_repeated else value
    return shown


@settings(max_examples=60, deadline=None)
@given(messages())
def test_a_row_of_the_file_says_what_the_message_says(made: tuple[TopicLog, list[Any]]) -> None:
    log, sent = made
    records = [LogRecord(3, n, 1_000 + n, message.SerializeToString()) for n, message in enumerate(sent)]
    file = io.BytesIO()
    pq.write_table(log.table(records), file)
    found = pq.read_table(file)
    assert found.schema.equals(log.schema)
    rows = found.to_pylist(maps_as_pydicts="strict")
    assert [row["kafka_offset"] for row in rows] == list(range(len(sent)))
    for row, message in zip(rows, sent, strict=True):
        assert {name: row[name] for name in plain(message)} == plain(message)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[TopicLog, list[bytes]]:
    """Values of one topic: whole messages, two as one, cut off, and with other bytes in them."""
    log, made = draw(messages())
    values = [message.SerializeToString() for message in made]
    if values:
        values.append(values[0] + draw(st.sampled_from(values)))
        short = draw(st.sampled_from(values))
        values.append(short[: draw(st.integers(0, len(short)))])
        place = draw(st.integers(0, len(short)))
        values.append(short[:place] + draw(st.binary(max_size=12)) + short[place + draw(st.integers(0, 3)) :])
    values += draw(st.lists(st.binary(max_size=6), max_size=2))
    return log, draw(st.permutations(values))


def parsed(log: TopicLog, value: bytes) -> Any:
    """What the protobuf library makes of a value."""
    try:
        message = log.message.FromString(value)
    except DecodeError:
        return None
    return message if getattr(message, log.identity) else None


# An entry of a map with a field that no entry has: the library leaves it out of the map.
ODD_ENTRY = b"\n\x01x" + b"\x22\x09" + b"\x29\x00\x00\n\x050\xf0\x90\x80"


@settings(max_examples=300, deadline=None)
@given(damaged())
@example((COMMAND_RESULTS, [b"\n\x01y", ODD_ENTRY]))
def test_a_row_says_what_the_protobuf_library_makes_of_any_bytes(made: tuple[TopicLog, list[bytes]]) -> None:
    log, values = made
    table = log.table([LogRecord(0, n, 1, value) for n, value in enumerate(values)])
    table.validate(full=True)
    assert table["kafka_offset"].to_pylist() == list(range(len(values)))
    names = [field.name for field in log.message.DESCRIPTOR.fields]
    for row, value in zip(table.to_pylist(maps_as_pydicts="strict"), values, strict=True):
        message = parsed(log, value)
        expected = dict.fromkeys(names) if message is None else plain(message)
        # As text, in which NaN equals NaN; the order of a map's entries says nothing.
        assert {name: shown(row[name]) for name in names} == {name: shown(expected[name]) for name in names}


def shown(value: Any) -> str:
    return repr(dict(sorted(value.items())) if isinstance(value, dict) else value)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_what_is_no_such_message_is_a_row_without_values(log: TopicLog) -> None:
    good = log.message(**{log.identity: "x"}).SerializeToString()
    values = [b"\xff\xff", good, b"", good]
    table = log.table([LogRecord(0, n, 1, value) for n, value in enumerate(values)])
    assert table["kafka_offset"].to_pylist() == [0, 1, 2, 3]
    assert table[log.identity].to_pylist() == [None, "x", None, "x"]
    assert all(table.column(name)[0].as_py() is None for name in table.column_names if not name.startswith("kafka_"))


def test_embeddings_can_be_read_as_numbers() -> None:
    vector = np.arange(4, dtype="<f2")
    message = pb.EmbeddingReady(image_id="a", kind=pb.KIND_LSH, vector=vector.tobytes(), dtype=pb.DTYPE_FLOAT16)
    (log,) = (log for log in LOGS if log.name == "embeddings_lsh")
    (row,) = log.table([LogRecord(0, 0, 1, message.SerializeToString())]).to_pylist()
    assert (row["kind"], row["dtype"]) == ("lsh", "float16")
    assert np.array_equal(np.frombuffer(row["vector"], "<f2"), vector)


def test_a_process_that_imported_nothing_else_makes_a_table() -> None:
    program = (
        "from neardup_platform.kafka.record_block import LogRecord\n"
        "from neardup_platform.topic_logs.topic_log import COMMAND_RESULTS\n"
        "print(COMMAND_RESULTS.table([LogRecord(0, 1, 5, b'x'), LogRecord(0, 2, 5, b'y')]).num_rows)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("2\n", 0), found.stderr


def test_vectors_of_pictures_are_stored_in_fewer_bytes_and_vectors_without_structure_in_no_more(tmp_path: Path) -> None:
    embedder = next(each for each in load_embedders(Settings().images) if each.kind == "pair")
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in sorted(PICTURES.glob("*.jpg"))[:8]]
    embedded = embedder.embed(pictures).astype("<f2")
    drawn = np.random.default_rng(0).standard_normal(embedded.shape).astype("<f2")
    stored = []
    for vectors in (embedded, drawn):
        messages = [pb.EmbeddingReady(image_id="x", vector=vector.tobytes()).SerializeToString() for vector in vectors]
        records = [LogRecord(0, offset, 5, message) for offset, message in enumerate(messages)]
        write_parquet(PAIR_EMBEDDINGS, [records], tmp_path / "file")
        group = pq.read_metadata(tmp_path / "file").row_group(0)
        columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
        stored.append(columns["vector"].total_compressed_size / vectors.nbytes)
        assert [bytes(vector.as_py()) for vector in pq.read_table(tmp_path / "file")["vector"]] == list(
            map(bytes, vectors)
        )
    assert stored[0] < 0.9
    assert stored[1] < 1.01
