"""Claims about logged vectors: each that the worker takes is read, in the order of its rows, and no other."""

import numpy as np
import pyarrow as pa

from neardup_platform.hourly_quality.vector_rows import decoded_vectors

DIM = 4


def logged(*rows: tuple[str | None, bytes | None]) -> tuple[pa.Array, pa.Array]:
    return pa.array([dtype for dtype, _ in rows], pa.string()), pa.array([vector for _, vector in rows], pa.binary())


def vector(start: float, form: str) -> bytes:
    return np.arange(start, start + DIM, dtype=form).tobytes()


def test_both_types_are_read_in_the_order_of_their_rows() -> None:
    dtypes, vectors = logged(
        ("float32", vector(1, "<f4")), ("float16", vector(2, "<f2")), ("float32", vector(3, "<f4"))
    )
    rows, found = decoded_vectors(dtypes, vectors, DIM)
    assert rows.tolist() == [0, 1, 2]
    assert found.dtype == np.float32
    assert found.tolist() == [[start, start + 1, start + 2, start + 3] for start in (1, 2, 3)]


def test_what_the_worker_refuses_is_left_out() -> None:
    dtypes, vectors = logged(
        ("float16", vector(1, "<f2")[:-2]),
        ("float32", vector(1, "<f2")),
        ("int8", vector(1, "<f2")),
        (None, vector(1, "<f2")),
        ("float16", None),
        ("float32", np.full(DIM, np.nan, "<f4").tobytes()),
        ("float32", bytes(4 * DIM)),
        ("float16", vector(7, "<f2")),
    )
    rows, found = decoded_vectors(dtypes, vectors, DIM)
    assert rows.tolist() == [7]
    assert found.tolist() == [[7, 8, 9, 10]]


def test_a_slice_of_a_column_and_an_empty_one_are_read() -> None:
    dtypes, vectors = logged(*(("float16", vector(start, "<f2")) for start in range(1, 5)))
    rows, found = decoded_vectors(dtypes.slice(2), vectors.slice(2), DIM)
    assert rows.tolist() == [0, 1]
    assert found[:, 0].tolist() == [3, 4]
    assert decoded_vectors(dtypes.slice(4), vectors.slice(4), DIM)[1].shape == (0, DIM)
