"""Ids are ordered and hashed as the store does it, whatever their lengths and bytes."""

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neardup_platform.bootstrap.blake2b_kernels import SIZE
from neardup_platform.bootstrap.id_order import order_by_length, order_of
from neardup_platform.bootstrap.record_kernels import Texts, hash_keys, sum_assignments, texts_of, unhex
from neardup_platform.store import layout

TEXT = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cc", "Cs"]), min_size=1, max_size=120)
IDS = st.lists(st.one_of(TEXT, TEXT.map(lambda text: "a prefix of many ids/" + text)), unique=True, max_size=40)
EDGES = ["x" * size for size in (1, 7, 8, 9, 127, 128, 129, 255, 256, 511, 512)]


def texts(values: list[str]) -> Texts:
    return texts_of(pa.array(values, pa.large_string()))


@settings(deadline=None)  # the first example compiles
@given(IDS)
@example(EDGES)
def test_ids_are_ordered_by_their_bytes_and_by_length_before(ids: list[str]) -> None:
    found = order_of(texts(ids))
    assert [ids[row] for row in found] == sorted(ids, key=str.encode)
    by_length = order_by_length(texts(ids), found)
    assert [ids[row] for row in by_length] == sorted(ids, key=layout.id_prefix)


@settings(deadline=None)  # the first example compiles
@given(IDS)
@example(EDGES)
def test_hashes_and_digests_are_those_of_the_layout(ids: list[str]) -> None:
    keys = np.empty((len(ids), SIZE), np.uint8)
    hash_keys(texts(ids), keys)
    assert [key.tobytes() for key in keys] == [layout.hash_key(image_id) for image_id in ids]
    limbs = sum_assignments(texts(ids), np.arange(len(ids))[::-1], 0, len(ids)).tolist()
    expected = sum(layout.assignment_digest(*pair) for pair in zip(ids, ids[::-1], strict=True))
    assert sum(limb << (32 * at) for at, limb in enumerate(limbs)) == expected


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4), st.sampled_from(["", " "]))
def test_hexadecimal_digits_of_either_case_become_bytes(hashes: list[bytes], space: str) -> None:
    digits = [f"{space}{value.hex(*([' '] if space else []))}" for value in hashes]
    digits[0] = digits[0].upper()
    out = np.zeros(32 * len(hashes), np.uint8)
    unhex(texts(digits), np.arange(len(hashes) + 1) * 32, out)
    assert out.tobytes() == b"".join(hashes)
