"""Random ids, messages and Parquet files are accepted or refused with a reason, and producer and worker agree."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from neardup_platform.errors import BadArtefact, BadMessage
from neardup_platform.ingest.parquet_embeddings import EmbeddingFile
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.stream.intake import Intake
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import REASONS, Message, decode_command, decode_embedding, encode_embedding
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS
from neardup_platform.wire.validation import checked_embedding, checked_id, stored_precision

NOW_MS = 1_700_000_000_000
MODELS = {Kind.LSH: ModelSpec("v", 3), Kind.PAIR: ModelSpec("v", 2)}
ANY_TEXT = st.text(st.characters(codec=None), max_size=300)
TIMES = st.integers(NOW_MS - 5, NOW_MS + 5) | st.integers(-(2**63), 2**63 - 1)


@st.composite
def embeddings(draw: st.DrawFn) -> Embedding:
    """Mostly plausible embeddings, with few ids and vectors."""
    kind = draw(st.sampled_from(Kind))
    dims = st.just(MODELS[kind].dim) | st.integers(0, 4)
    floats = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(width=16) | st.sampled_from([1e-9, 6.1e4, 1e30])
    return Embedding(
        draw(st.sampled_from(["a", "b", "é"]) | ANY_TEXT),
        kind,
        draw(st.just("v") | st.sampled_from(["newer", "other", ""])),
        draw(st_numpy.arrays(np.float32, dims, elements=floats)),
        draw(TIMES),
        draw(st.just("") | ANY_TEXT),
        draw(st.booleans()),
    )


def accepted(embedding: Embedding) -> bool:
    try:
        checked_embedding(embedding, MODELS[embedding.kind], NOW_MS, ("newer",))
    except BadMessage as refused:
        assert refused.reason in REASONS
        return False
    return True


def sent(embedding: Embedding, offset: int = 0) -> Message:
    key = embedding.image_id.encode()
    return Message(EMBEDDINGS[embedding.kind], 0, offset, key, encode_embedding(embedding))


@given(ANY_TEXT)
def test_an_id_is_accepted_or_refused_with_a_reason(text: str) -> None:
    try:
        assert checked_id(text) == text
    except BadMessage as refused:
        assert refused.reason == "bad-id"
    else:
        text.encode()
        assert text not in (".", "..", "")


@given(embeddings())
def test_the_worker_accepts_bit_for_bit_what_a_producer_may_send(embedding: Embedding) -> None:
    if not accepted(embedding):
        return
    message = sent(embedding)
    taken = decode_embedding(message, embedding.kind, MODELS[embedding.kind], NOW_MS, ("newer",))
    assert encode_embedding(taken) == message.value
    assert taken.vector.tobytes() == stored_precision(embedding.vector).tobytes()


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """Topic, key and value: garbage, valid messages, and valid ones with a few bytes changed, cut or added."""
    topic = draw(st.sampled_from(list(EMBEDDINGS.values())))
    if draw(st.integers(0, 4)) == 0:
        return topic, draw(st.binary(max_size=20)), draw(st.binary(max_size=200))
    embedding = draw(embeddings().filter(_encodable))
    value = bytearray(encode_embedding(embedding))
    if draw(st.booleans()):
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, len(value)))
            value[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return EMBEDDINGS[embedding.kind], embedding.image_id.encode(), bytes(value)


def _encodable(embedding: Embedding) -> bool:
    try:
        sent(embedding)
    except (UnicodeEncodeError, ValueError):
        return False
    return True


@given(st.lists(messages(), max_size=25))
def test_the_intake_refuses_with_reasons_and_every_message_has_one_outcome(log: list[tuple[str, bytes, bytes]]) -> None:
    stored: dict[str, JoinedImage] = {}
    settings = JoinSettings(newer_lsh=("newer",), newer_pair=("newer",))
    partitions = [(topic, 0) for topic in EMBEDDINGS.values()]
    intake = Intake(settings, MODELS, partitions, [], stored.__contains__, None, stored.get)
    outcomes = dict.fromkeys(("received", "repeated", "dead_lettered", "re_embedded", "expired"), 0)
    for at in range(0, len(log), 4):
        read = [Message(topic, 0, at + n, key, value) for n, (topic, key, value) in enumerate(log[at : at + 4])]
        while True:
            step, joined = intake.take(read, {}, NOW_MS)
            steps = [step]
            for image in joined:
                stored[image.image_id] = image
            intake.committed(image.image_id for image in joined)
            while (newer := intake.take_newer(NOW_MS)) is not None:
                steps.append(newer[0])
                image = stored[newer[1].image_id]
                by = newer[1]
                both = by if isinstance(by, JoinedImage) else None
                stored[image.image_id] = both or JoinedImage(
                    *(by if by.kind is kind else image.embedding(kind) for kind in (Kind.LSH, Kind.PAIR))  # type: ignore[union-attr]
                )
            for done in steps:
                assert {error.reason for _, error in done.dead} <= REASONS.keys()
                for outcome, count in done.counts.items():
                    outcomes[outcome] += count
            if not intake.holds_newer:
                break
            read = []
    ended = sum(outcomes[outcome] for outcome in outcomes if outcome != "received")
    assert outcomes["received"] == len(log) == 2 * len(stored) + len(intake) + ended


@given(
    st.binary(max_size=300) | st.builds(lambda i: pb.Command(command_id=i).SerializeToString(), st.text(max_size=200))
)
def test_a_command_is_decoded_or_refused_with_a_reason(value: bytes) -> None:
    try:
        decode_command(Message(CONTROL, 0, 0, b"", value))
    except BadMessage as refused:
        assert refused.reason in REASONS


NUMBERS = st.floats(width=32) | st.just(1.0)
COLUMNS: dict[str, list[tuple[pa.DataType, st.SearchStrategy[Any]]]] = {
    "text": [
        (pa.string(), st.none() | st.text(max_size=5) | st.just("v")),
        (pa.large_string(), st.just("v")),
        (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["v", "b", None])),
        (pa.int64(), st.none() | st.integers(-5, 5)),
        (pa.list_(pa.string()), st.just(["v"])),
        (pa.binary(), st.binary(max_size=4)),
        (pa.null(), st.none()),
    ],
    "vector": [
        (pa.list_(pa.float32()), st.none() | st.lists(st.none() | NUMBERS, max_size=4) | st.just([1.0, 2.0, 3.0])),
        (pa.list_(pa.float64(), 3), st.none() | st.lists(st.floats(), min_size=3, max_size=3)),
        (pa.large_list(pa.float64()), st.just([1.0, 2.0])),
        (pa.list_(pa.list_(pa.float32())), st.just([[1.0]])),
        (pa.list_(pa.int32()), st.just([1, 2, 3])),
        (pa.binary(), st.none() | st.binary(max_size=12)),
        (pa.binary(4), st.just(b"abcd")),
        (pa.string(), st.just("0.1")),
        (pa.struct([("x", pa.float32())]), st.just({"x": 1.0})),
        (pa.null(), st.none()),
    ],
    "time": [
        (pa.int64(), st.none() | st.just(NOW_MS) | st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.int16(), st.integers(-5, 5)),
        (pa.timestamp("ms"), st.just(NOW_MS)),
        (pa.float64(), st.just(1.0)),
        (pa.bool_(), st.booleans()),
        (pa.null(), st.none()),
    ],
}
KINDS = {
    "image_id": "text",
    "lsh": "vector",
    "pair": "vector",
    "lsh_version": "text",
    "pair_version": "text",
    "event_time_ms": "time",
    "source_uri": "text",
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 6))
    columns, names = [], []
    for name, kind in KINDS.items():
        if draw(st.integers(0, 15)) == 0:
            continue
        # The first type of each column is valid and frequent, or hardly any file would be read as far as its rows.
        kinds = COLUMNS[kind]
        kept, values = kinds[0] if draw(st.integers(0, 3)) else draw(st.sampled_from(kinds))
        columns.append(pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kept))
        names.append(draw(st.sampled_from(list(KINDS))) if draw(st.integers(0, 30)) == 0 else name)
    return pa.Table.from_arrays(columns, names=names)


@contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    try:
        yield made
    finally:
        shutil.rmtree(made)


def check_file(path: Path, rows: int | None) -> None:
    """Check that every row is good or has a reason, and that the worker accepts the good ones."""
    try:
        file = EmbeddingFile(path, MODELS, NOW_MS)
        parts = list(file.parts(2))
    except BadArtefact as refused:
        assert "\n" not in str(refused)
        return
    good = [image for part in parts for image in part.images]
    bad = [row for part in parts for row in part.bad]
    assert {row.reason for row in bad} <= REASONS.keys()
    if rows is not None:
        assert len(good) + len(bad) == len(file) == rows
        assert len({row.row for row in bad}) == len(bad)
    for image in good:
        for kind in Kind:
            decode_embedding(sent(image.embedding(kind)), kind, MODELS[kind], NOW_MS)


@given(tables())
def test_a_table_of_any_schema_is_refused_or_read_row_by_row(table: pa.Table) -> None:
    with folder() as made:
        pq.write_table(table, made / "f.parquet")
        check_file(made / "f.parquet", table.num_rows)


@given(tables(), st.data())
def test_a_damaged_file_is_refused_or_read(table: pa.Table, data: st.DataObject) -> None:
    with folder() as made:
        path = made / "f.parquet"
        pq.write_table(table, path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        check_file(path, None)
