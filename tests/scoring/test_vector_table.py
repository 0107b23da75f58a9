"""Claims about the vector table."""

import numpy as np
import pytest

from neardup_platform.scoring.vector_table import VectorTable


def test_every_finite_float16_is_gathered_exactly() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 8)
    table = VectorTable(8)
    table.append(finite)
    order = np.random.default_rng(0).permutation(len(finite))
    gathered = table.gather(order)
    assert gathered.dtype == np.float32
    assert (gathered.view(np.uint32) == finite[order].astype(np.float32).view(np.uint32)).all()


def test_rows_are_appended_in_order() -> None:
    table = VectorTable(2, capacity=4)
    table.append(np.array([[1, 2]], np.float16))
    table.append(np.array([[3, 4], [5, 6]], np.float16))
    assert len(table) == 3
    assert table.gather(np.array([2, 0])).tolist() == [[5, 6], [1, 2]]


def test_full_table_says_how_much_it_holds() -> None:
    table = VectorTable(2, capacity=1)
    with pytest.raises(MemoryError, match="at most 1 images, 2 needed"):
        table.append(np.ones((2, 2), np.float16))
