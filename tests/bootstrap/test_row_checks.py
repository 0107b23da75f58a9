"""Checks of whole columns agree with the checks of one value, and a bad row says what is wrong with it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.bootstrap.parquet_rows import read_rows
from neardup_platform.bootstrap.row_checks import REASON_NAMES, id_is_good
from neardup_platform.errors import BadArtefact, BadMessage
from neardup_platform.records import Kind
from neardup_platform.wire.validation import checked_id
from tests.bootstrap.data_files import MODELS, NOW_MS, SCHEMA, read, row, source, write

AWKWARD = st.sampled_from(
    ["", ".", "..", "\x00", "\x1f", "\x7f", "\x80", "\x9f", "\xa0", "\u2027", "\u2028", "\u2029", "\u202a", "\ue000"]
)


@given(st.lists(st.one_of(st.binary(max_size=6), st.text(max_size=4).map(lambda t: t.encode("utf-8", "surrogatepass")),
                          AWKWARD.map(str.encode), st.integers(509, 515).map(lambda n: b"x" * n))))  # fmt: skip
def test_ids_are_judged_as_one_id_is(ids: list[bytes]) -> None:
    assert id_is_good(pa.array(ids, pa.large_binary())).tolist() == [is_good(each) for each in ids]


def is_good(image_id: bytes) -> bool:
    try:
        checked_id(image_id.decode())
    except (BadMessage, UnicodeDecodeError):
        return False
    return True


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("bad-id", {"image_id": "a\nb"}, "control character"),
    ("bad-id", {"image_id": None}, "None"),
    ("other-version", {"pair_version": "p0"}, "'p1'"),
    ("other-version", {"lsh_version": None}, "'l1'"),
    ("bad-uri", {"source_uri": "x" * 2_049}, "2049 bytes"),
    ("bad-time", {"event_time_ms": None}, "Unix milliseconds"),
    ("bad-time", {"event_time_ms": NOW_MS // 1_000}, "multiply by 1,000"),
    ("bad-time", {"event_time_ms": NOW_MS + 86_400_001}, "over a day ahead"),
    ("bad-pdq", {"pdq": "abc", "pdq_quality": 1}, "64 hexadecimal digits"),
    ("bad-pdq", {"pdq": "ab" * 32}, "no pdq_quality"),
    ("bad-pdq", {"pdq": "ab" * 32, "pdq_quality": 101}, "0 to 100"),
    ("bad-pdq", {"pdq": None, "pdq_quality": 5}, "0 bytes"),
    ("no-embedding", {"lsh": None, "pair": None}, "both embeddings"),
    ("dangling-head", {"head": ".."}, "names a folder"),
]


@pytest.mark.parametrize(("reason", "change", "says"), BAD)
def test_a_bad_row_has_a_reason_and_says_what_is_wrong(
    tmp_path: Path, reason: str, change: dict[str, Any], says: str
) -> None:
    rows = read(tmp_path, [row("a"), {**row("b"), **change}], [row("c", pdq="AB" * 32, pdq_quality=100)])
    assert [REASON_NAMES[code] for code in rows.reasons] == ["", reason, ""]
    assert says in rows.details[1]
    assert (rows.place(1), rows.place(2)) == (("0.parquet", 1), ("1.parquet", 0))


def test_a_version_counts_only_where_its_embedding_is(tmp_path: Path) -> None:
    rows = read(tmp_path, [row("a", kinds="l", pair_version=None), row("b", kinds="p", lsh_version="other")])
    assert not rows.reasons.any()


@pytest.mark.parametrize("mixed", [True, False], ids=["mixed", "all"])
def test_which_embeddings_are_there_is_read_from_any_row_group(tmp_path: Path, mixed: bool) -> None:
    kinds = ["lp", "l", "p", "lp", "l", "l"] if mixed else ["l"] * 6
    rows = read(tmp_path, [row(f"i{number}", kinds=each) for number, each in enumerate(kinds)])
    assert rows.present[Kind.LSH].tolist() == ["l" in each for each in kinds]
    assert rows.present[Kind.PAIR].tolist() == ["p" in each for each in kinds]


def test_a_file_may_hold_one_kind_and_no_heads(tmp_path: Path) -> None:
    schema = pa.schema([field for field in SCHEMA if field.name in ("image_id", "lsh", "lsh_version", "event_time_ms")])
    path = write(tmp_path / "lsh.parquet", [row("a"), row("b")], schema)
    rows = read_rows([source(path)], MODELS, NOW_MS)
    assert [rows.present[kind].tolist() for kind in Kind] == [[True, True], [False, False]]
    assert not rows.reasons.any()
    assert rows.head.null_count == len(rows)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_id": None}, r"x\.parquet: it lacks the columns \['image_id'\]"),
        ({"lsh": None, "pair": None}, r"lacks the columns \['lsh', 'pair'\]"),
        ({"pair_version": None}, r"lacks the columns \['pair_version'\]"),
        ({"head": pa.int64()}, "'head' has the type int64"),
        ({"event_time_ms": pa.string()}, "'event_time_ms' has the type string"),
    ],
)
def test_a_file_of_another_schema_is_refused_by_name(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    fields = [(field.name, change.get(field.name, field.type)) for field in SCHEMA]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.schema([each for each in fields if each[1] is not None]).empty_table(), path)
    with pytest.raises(BadArtefact, match=says):
        read_rows([source(path)], MODELS, NOW_MS)


@pytest.mark.parametrize("content", [b"", b"PAR1 no PAR1"], ids=["empty", "garbage"])
def test_what_is_no_parquet_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(BadArtefact, match=r"x\.parquet: it is not a readable Parquet file"):
        read_rows([source(path)], MODELS, NOW_MS)


def test_a_data_set_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match="no rows"):
        read(tmp_path, [], [])
