"""Vectors of a column are judged as a single vector is, whatever the type of the column."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from neardup_platform.bootstrap.half_kernels import lengths
from neardup_platform.bootstrap.row_checks import REASON_NAMES
from neardup_platform.bootstrap.vector_columns import digests_of, vectors_of
from neardup_platform.errors import BadMessage
from neardup_platform.records import Kind
from neardup_platform.wire.validation import VECTOR_FAULTS, check_vector, vector_faults

DIM = 3
TELLING = st.sampled_from(
    [0, 1, -1, 0.01, 0.0099, 1e-3, 6e-8, 2e-8, 1e-20, 5.9e4, 6e4, -6e4, 60_001, 7e4, 1e30, np.inf, -np.inf, np.nan]
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(data=st.data())
def test_many_vectors_are_judged_as_one_is(dtype: type[np.floating], data: st.DataObject) -> None:
    with np.errstate(over="ignore"):
        vectors = data.draw(arrays(np.float64, st.tuples(st.integers(0, 6), st.just(DIM)), elements=TELLING)).astype(
            dtype
        )
    for kind in Kind:
        assert [VECTOR_FAULTS[fault] for fault in vector_faults(vectors, kind)] == [fault(v, kind) for v in vectors]


@given(vectors=arrays(np.uint16, st.tuples(st.integers(0, 6), st.integers(1, 40))))
def test_lengths_of_any_float16_are_those_of_numpy(vectors: NDArray[np.uint16]) -> None:
    halves = vectors.view(np.float16)
    with np.errstate(invalid="ignore"):
        expected = np.linalg.norm(halves.astype(np.float64), axis=1)
    finite = np.isfinite(expected)
    assert lengths(halves)[finite] == pytest.approx(expected[finite], rel=1e-5)
    assert (lengths(halves)[~finite] > np.finfo(np.float16).max).all()


@given(data=st.data())
def test_columns_of_float16_are_judged_as_one_vector_is(data: st.DataObject) -> None:
    with np.errstate(over="ignore"):
        drawn = data.draw(arrays(np.float64, st.tuples(st.integers(0, 6), st.just(DIM)), elements=TELLING))
        halves = drawn.astype(np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(halves.ravel(), pa.float16()), DIM)
    for kind in Kind:
        vectors, reasons = vectors_of(column, kind, DIM)
        faults = [fault(vector, kind) for vector in halves]
        assert [REASON_NAMES[code] for code in reasons] == faults
        good = [not each for each in faults]
        assert vectors[good].tolist() == halves[good].tolist()
        assert not vectors[~np.array(good, np.bool_)].any()


def fault(vector: NDArray[np.floating], kind: Kind) -> str:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            check_vector(vector, kind, DIM)
    except BadMessage as error:
        return error.reason
    return ""


GOOD, OTHER = [1.0, 0.5, -0.25], [0.5, 0.5, 0.0]
NAN = [1.0, None, 0.0]


def as_bytes(dtype: str, *vectors: list[float]) -> list[bytes]:
    return [np.array(each, dtype).tobytes() for each in vectors]


COLUMNS = {
    "list": pa.array([GOOD, None, [1.0], NAN, OTHER], pa.list_(pa.float32())),
    "large list of float64": pa.array([GOOD, None, [1.0] * 4, NAN, OTHER], pa.large_list(pa.float64())),
    "binary": pa.array(
        [*as_bytes("<f4", GOOD), None, b"123", *as_bytes("<f4", [1, np.nan, 0]), *as_bytes("<f2", OTHER)]
    ),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
@pytest.mark.parametrize("start", [0, 1], ids=["whole", "sliced"])
def test_each_row_of_a_column_is_a_vector_or_has_a_reason(column: pa.Array, start: int) -> None:
    vectors, reasons = vectors_of(column.slice(start), Kind.PAIR, DIM)
    assert [REASON_NAMES[code] for code in reasons] == ["", "", "bad-dimension", "not-finite", ""][start:]
    assert vectors.tolist() == [GOOD, [0] * 3, [0] * 3, [0] * 3, OTHER][start:]


def test_fixed_size_lists_have_one_dimension() -> None:
    column = pa.array([OTHER, None, GOOD], pa.list_(pa.float32(), DIM))
    vectors, reasons = vectors_of(column.slice(1), Kind.LSH, DIM)
    assert (vectors.tolist(), reasons.tolist()) == ([[0] * 3, GOOD], [0, 0])
    _, reasons = vectors_of(column, Kind.LSH, DIM + 1)
    assert [REASON_NAMES[code] for code in reasons] == ["bad-dimension", "", "bad-dimension"]


def test_a_column_of_nulls_has_no_vectors() -> None:
    assert not vectors_of(pa.nulls(2), Kind.LSH, DIM)[1].any()


def test_digests_tell_vectors_apart() -> None:
    vectors = np.array([GOOD, OTHER, GOOD[::-1], [0, 0, 0], [-0.0, 0, 0], GOOD], np.float16)
    digests = digests_of(vectors).tolist()
    assert digests[0] == digests[5]
    assert digests[3] == digests[4]
    assert len(set(digests)) == 4
