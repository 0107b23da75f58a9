"""Counting copies found, wrong merges and undecided images."""

from pathlib import Path

from samples.alterations import Copy
from samples.comparison import WrongMerge, compare

ORIGINALS = ["cat.jpg", "dog.jpg"]
COPIES = [
    Copy("cat.jpg", Path("cat--crop.jpg"), "crop"),
    Copy("cat.jpg", Path("cat--webp.webp"), "webp"),
    Copy("dog.jpg", Path("dog--crop.jpg"), "crop"),
]
PERFECT = {
    "cat.jpg": "cat--crop.jpg",
    "cat--crop.jpg": "cat--crop.jpg",
    "cat--webp.webp": "cat--crop.jpg",
    "dog.jpg": "dog.jpg",
    "dog--crop.jpg": "dog.jpg",
}


def test_all_found_whichever_image_is_the_head() -> None:
    result = compare(ORIGINALS, COPIES, PERFECT)
    assert (result.found, result.made, result.clusters) == (3, 3, 2)
    assert result.originals[0].found == ("cat--crop.jpg", "cat--webp.webp")
    assert result.by_alteration == {"crop": (2, 2), "webp": (1, 1)}
    assert result.wrong_merges == ()
    assert result.undecided == ()


def test_a_copy_in_a_cluster_of_its_own_is_missed_but_not_a_wrong_merge() -> None:
    result = compare(ORIGINALS, COPIES, PERFECT | {"cat--webp.webp": "cat--webp.webp"})
    assert result.originals[0].missed == ("webp",)
    assert result.by_alteration == {"crop": (2, 2), "webp": (0, 1)}
    assert (result.found, result.clusters, result.wrong_merges) == (2, 3, ())


def test_a_copy_with_another_original_is_missed_and_a_wrong_merge() -> None:
    result = compare(ORIGINALS, COPIES, PERFECT | {"dog--crop.jpg": "cat--crop.jpg"})
    assert result.originals[1].missed == ("crop",)
    assert result.wrong_merges == (WrongMerge("dog--crop.jpg", "dog.jpg", "cat--crop.jpg", "cat.jpg"),)


def test_the_larger_of_two_families_owns_a_shared_cluster_whatever_its_head() -> None:
    result = compare(ORIGINALS, COPIES, dict.fromkeys(PERFECT, "dog.jpg"))
    assert [wrong.image_id for wrong in result.wrong_merges] == ["dog--crop.jpg", "dog.jpg"]
    assert result.found == 3  # each copy is with its original all the same


def test_of_two_equal_families_the_head_owns_the_cluster() -> None:
    heads = {"cat.jpg": "dog.jpg", "dog.jpg": "dog.jpg"}
    result = compare(ORIGINALS, [], heads)
    assert [wrong.image_id for wrong in result.wrong_merges] == ["cat.jpg"]


def test_an_undecided_original_finds_no_copies_and_is_named() -> None:
    heads = {image_id: head for image_id, head in PERFECT.items() if image_id != "cat.jpg"}
    result = compare(ORIGINALS, COPIES, heads)
    assert result.undecided == ("cat.jpg",)
    assert result.originals[0].head is None
    assert result.originals[0].missed == ("crop", "webp")


def test_undecided_original_and_copy_do_not_count_as_together() -> None:
    result = compare(ORIGINALS, COPIES, {})
    assert (result.found, result.made, result.clusters) == (0, 3, 0)
    assert len(result.undecided) == 5


def test_other_images_are_ignored() -> None:
    assert compare(ORIGINALS, COPIES, PERFECT | {"holiday.jpg": "dog.jpg"}) == compare(ORIGINALS, COPIES, PERFECT)
