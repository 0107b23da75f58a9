"""The crowding of an image is its mean likeness to the nearest of a fixed set, and depends on the image alone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.features import Block
from neardup_platform.scoring.reference import (
    CROWDING,
    RANKS,
    Reference,
    excerpt,
    parts_of,
    read_reference,
    write_reference,
)
from neardup_platform.scoring.vectors import ImageVectors

BLOCKS = (Block("shape", 0, 16, "dihedral"), Block("levels", 16, 18, "level"), Block("colour", 18, 30, "cosine"))
PARTS = parts_of(24, BLOCKS)
RNG = np.random.default_rng(4)
VECTORS = ImageVectors(RNG.normal(size=(90, 24)).astype(np.float16), RNG.normal(size=(90, 30)).astype(np.float16))
MEMBERS = np.arange(10, 90)
REFERENCE = Reference(excerpt(VECTORS, MEMBERS, PARTS), PARTS)


def by_definition(row: int, others: np.ndarray) -> list[float]:
    found = []
    for table in (VECTORS.lsh, VECTORS.pair[:, 0:16], VECTORS.pair[:, 18:30]):
        unit = table.astype(np.float64) / np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
        cosines = np.sort(unit[MEMBERS[others]] @ unit[row])[::-1]
        found += [cosines[first:last].mean() for first, last in RANKS]
    return found


def test_crowding_equals_its_definition() -> None:
    everyone, some = np.ones(80, np.bool_), RNG.uniform(size=80) < 0.9
    found = REFERENCE.crowding(VECTORS, np.array([0, 7, 40]), np.stack([everyone, some, everyone]))
    assert found.shape == (3, len(CROWDING))
    expected = [by_definition(0, everyone), by_definition(7, some), by_definition(40, everyone)]
    assert np.allclose(found, expected, atol=1e-5)


def test_a_picture_of_the_crowd_is_more_crowded_than_one_that_stands_out() -> None:
    crowd = np.concatenate([RNG.normal(size=24) + 0.3 * RNG.normal(size=(70, 24)), RNG.normal(size=(20, 24))])
    vectors = ImageVectors(crowd.astype(np.float16), VECTORS.pair)
    reference = Reference(excerpt(vectors, np.arange(1, 80), PARTS), PARTS)
    inside, outside = reference.crowding(vectors, np.array([0, 89]))[:, CROWDING.index("lsh_far")]
    assert inside > 0.8
    assert outside < 0.5


def test_crowding_does_not_depend_on_the_other_images() -> None:
    rows = np.arange(90)
    whole = REFERENCE.crowding(VECTORS, rows)
    for row in (0, 3, 89):
        assert np.array_equal(REFERENCE.crowding(VECTORS, rows[row : row + 1])[0], whole[row])


def test_in_a_small_reference_the_least_similar_member_repeats() -> None:
    few = Reference(excerpt(VECTORS, MEMBERS[:3], PARTS), PARTS)
    unit = VECTORS.lsh.astype(np.float64) / np.linalg.norm(VECTORS.lsh.astype(np.float64), axis=1, keepdims=True)
    first, second, third = np.sort(unit[MEMBERS[:3]] @ unit[0])[::-1]
    assert first > second > third
    found = few.crowding(VECTORS, np.array([0]))[0, :3]
    assert np.allclose(found, [(second + 3 * third) / 4, third, third], atol=1e-5)


def test_no_members_to_compare_with_give_the_least_value() -> None:
    assert (REFERENCE.crowding(VECTORS, np.array([0]), np.zeros((1, 80), np.bool_)) == -1).all()


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = excerpt(VECTORS, MEMBERS, PARTS)
    sha256 = write_reference(rows, tmp_path / "reference.npy")
    assert np.array_equal(read_reference(tmp_path / "reference.npy"), rows)
    assert hashlib.sha256((tmp_path / "reference.npy").read_bytes()).hexdigest() == sha256


@pytest.mark.parametrize("rows", [np.full((80, 52), np.nan, np.float16), np.zeros((80, 52)), np.zeros(80, np.float16)])
def test_a_reference_of_other_content_is_rejected(tmp_path: Path, rows: np.ndarray) -> None:
    write_reference(rows, tmp_path / "reference.npy")
    with pytest.raises(BadArtefact, match="not finite float16 in two dimensions"):
        read_reference(tmp_path / "reference.npy")


@pytest.mark.parametrize("content", [b"", b"x" * 100, None])
def test_a_file_that_is_no_reference_is_rejected(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "reference.npy").write_bytes(content)
    with pytest.raises(BadArtefact, match=r"reference\.npy cannot be read"):
        read_reference(tmp_path / "reference.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "reference.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadArtefact, match="allow_pickle=False"):
        read_reference(tmp_path / "reference.npy")


def test_a_reference_that_does_not_fit_is_rejected() -> None:
    with pytest.raises(ValueError, match="empty or has other parts"):
        Reference(np.zeros((0, 52), np.float16), PARTS)
    with pytest.raises(ValueError, match="empty or has other parts"):
        Reference(np.zeros((80, 51), np.float16), PARTS)
    with pytest.raises(ValueError, match="needs a dihedral and a cosine block"):
        parts_of(24, BLOCKS[:2])
