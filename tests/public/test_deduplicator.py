"""Claims about the deduplicator in memory: the pipeline's decisions, its bounds and its errors."""

import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from neardup_platform import (
    BadMessage,
    BadPicture,
    Conflict,
    Decision,
    Deduplicator,
    InvalidRequest,
    NotFound,
    Settings,
    SetupError,
)
from neardup_platform.records import JoinedImage
from neardup_platform.scoring.threshold_table import StratumThresholds, ThresholdStep, ThresholdTable
from neardup_platform.testing import MODELS, CosineScorer, ManualClock, families, small_pipeline
from samples.alterations import alterations
from tests.growing_chain import growing_chain

PICTURES = Path(__file__).parents[2] / "samples" / "pictures"
BRIDGE, BISON = PICTURES / "brandenburg-gate.jpg", PICTURES / "bison.jpg"


def small(max_images: int = 1_000) -> Deduplicator:
    return Deduplicator(small_pipeline(), MODELS, Settings(), max_images=max_images, clock=ManualClock(7))


def vectors(images: list[JoinedImage]) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    return (
        [image.image_id for image in images],
        np.stack([image.lsh.vector for image in images]),
        np.stack([image.pair.vector for image in images]),
    )


def test_vectors_are_decided_as_by_the_pipeline() -> None:
    images = families(12, 4)
    with small() as dedup:
        decisions = dedup.add_vectors(*vectors(images))
        clusters = dedup.clusters()
    expected = [d for batch in small_pipeline().decide(images, 1, 7) for d in batch.decisions]
    assert [(d.image_id, d.head, d.score, d.candidates) for d in decisions] == [
        (d.image_id, d.head, d.score, d.candidates) for d in expected
    ]
    assert len(clusters) == 12
    assert all(len({member.split("/")[0] for member in members}) == 1 for members in clusters.values())
    assert all(members[0] == head for head, members in clusters.items())


def test_the_same_calls_give_the_same_decisions_in_batches_of_any_size() -> None:
    ids, lsh, pair = vectors(families(10, 3, noise=0.25))

    def decided(size: int) -> list[Decision]:
        with small() as dedup:
            return [
                decision
                for first in range(0, len(ids), size)
                for decision in dedup.add_vectors(*(each[first : first + size] for each in (ids, lsh, pair)))
            ]

    assert decided(1) == decided(7) == decided(len(ids))


def test_a_search_says_where_an_image_would_go_and_adds_nothing() -> None:
    ids, lsh, pair = vectors(families(5, 3))
    with small() as dedup:
        assert not dedup.search(lsh=lsh[0], pair=pair[0]).seen_before
        dedup.add_vectors(ids[1:], lsh[1:], pair[1:])
        found = dedup.search(lsh=lsh[0], pair=pair[0])
        assert len(dedup) == len(ids) - 1
        [decision] = dedup.add_vectors(ids[:1], lsh[:1], pair[:1])
    assert (found.cluster, found.score, found.head_score) == (decision.head, decision.score, decision.head_score)
    assert {match.image_id.split("/")[0] for match in found.matches} == {ids[0].split("/")[0]}
    assert found.images_searched == len(ids) - 1


def test_a_search_says_from_which_cluster_an_image_would_be_held_apart() -> None:
    *before, newest = growing_chain(7)
    with small() as dedup:
        dedup.add_vectors(*vectors(before))
        found = dedup.search(lsh=newest.lsh.vector, pair=newest.pair.vector)
        (decision,) = dedup.add_vectors(*vectors([newest]))
    assert found.seen_before
    assert found.cluster is None
    assert found.guard is not None
    assert decision.guard is not None
    assert asdict(found.guard) == asdict(decision.guard)


def test_a_search_applies_the_thresholds_of_the_decision_and_says_if_the_picture_is_undistinctive() -> None:
    low, high = (StratumThresholds(match, 0.5, 1.0, 0.5, 2.0, 0.99, 0.9) for match in (0.9, 0.99))
    scorer = CosineScorer(threshold_table=ThresholdTable(None, (ThresholdStep(0, low, high),)))
    with Deduplicator(small_pipeline(scorer=scorer), MODELS, Settings(), clock=ManualClock(7)) as dedup:
        seen = set()
        for each in families(6, 2):
            found = dedup.search(lsh=each.lsh.vector, pair=each.pair.vector)
            (decision,) = dedup.add_vectors(*vectors([each]))
            assert (found.undistinctive, found.threshold) == (decision.undistinctive, decision.threshold)
            assert found.cluster == (None if decision.founded else decision.head)
            seen.add((found.undistinctive, found.threshold))
    assert seen == {(False, 0.9), (True, 0.99)}


def test_heads_are_looked_up_by_id() -> None:
    ids, lsh, pair = vectors(families(3, 2))
    with small() as dedup:
        heads = {decision.image_id: decision.head for decision in dedup.add_vectors(ids, lsh, pair)}
        assert dedup.lookup_many([*ids, "nobody"]) == heads
        assert dedup.head_of(ids[0]) == heads[ids[0]]
        assert ids[0] in dedup
        with pytest.raises(NotFound, match="nobody"):
            dedup.head_of("nobody")


@pytest.mark.parametrize(
    ("ids", "error"),
    [(["a", "a"], Conflict), (["known"], Conflict), (["a", ""], BadMessage), (["x" * 600], BadMessage)],
)
def test_ids_that_cannot_be_added_leave_the_clusters_unchanged(ids: list[str], error: type[Exception]) -> None:
    _, lsh, pair = vectors(families(1, 2))
    with small() as dedup:
        dedup.add_vectors(["known"], lsh[:1], pair[:1])
        with pytest.raises(error):
            dedup.add_vectors(ids, lsh[: len(ids)], pair[: len(ids)])
        assert dedup.clusters() == {"known": ["known"]}


def test_vectors_that_cannot_be_added_leave_the_clusters_unchanged() -> None:
    _, lsh, pair = vectors(families(1, 2))
    with small() as dedup:
        with pytest.raises(BadMessage, match="bad-dimension"):
            dedup.add_vectors(["a", "b"], lsh[:2, :-1], pair[:2])
        with pytest.raises(BadMessage, match="not-finite"):
            dedup.add_vectors(["a"], np.full_like(lsh[:1], np.nan), pair[:1])
        with pytest.raises(InvalidRequest, match="2 ids, 1 lsh and 2 pair"):
            dedup.add_vectors(["a", "b"], lsh[:1], pair[:2])
        with pytest.raises(InvalidRequest, match="is expected"):
            dedup.add_vectors(["a"], lsh[0], pair[:1])
        assert len(dedup) == 0


def test_it_holds_no_more_than_max_images() -> None:
    _, lsh, pair = vectors(families(1, 2))
    with small(max_images=2) as dedup:
        dedup.add_vectors(["a", "b"], lsh[:2], pair[:2])
        with pytest.raises(SetupError, match="max_images = 2"):
            dedup.add_vectors(["c"], lsh[:1], pair[:1])
        assert len(dedup) == 2


def test_a_search_needs_one_example() -> None:
    with small() as dedup:
        for arguments in ({}, {"lsh": [1.0]}, {"picture": b"x", "lsh": [1.0], "pair": [1.0]}):
            with pytest.raises(InvalidRequest, match="either a picture or both vectors"):
                dedup.search(**arguments)  # type: ignore[arg-type]


def test_embedders_that_the_classifier_was_not_trained_on_are_refused() -> None:
    with small() as dedup, pytest.raises(SetupError, match="not those the classifier was trained on"):
        dedup.add("a", BRIDGE)


@pytest.fixture(scope="module")
def shipped() -> Iterator[Deduplicator]:
    """With the shipped models, two pictures, and an altered copy of one."""
    with Deduplicator.in_memory(Settings()) as dedup:
        dedup.add("bridge", BRIDGE)
        with Image.open(BRIDGE) as picture:
            copy, _ = alterations(3)["recompress"](picture)
        dedup.add("copy", copy)
        dedup.add("bison", BISON)
        yield dedup


def test_pictures_and_their_copies_share_clusters(shipped: Deduplicator) -> None:
    assert shipped.lookup_many(["bridge", "copy", "bison"]) == {"bridge": "bridge", "copy": "bridge", "bison": "bison"}


def test_a_picture_is_the_same_as_a_path_bytes_a_file_and_an_image(shipped: Deduplicator) -> None:
    with BRIDGE.open("rb") as file, Image.open(BRIDGE) as image:
        found = [shipped.search(each) for each in (BRIDGE, str(BRIDGE), BRIDGE.read_bytes(), file)]
        as_image = shipped.search(image)
    assert all(answer.matches == found[0].matches for answer in found)
    # A JPEG file may be decoded at a smaller scale than Pillow gave, so the vectors differ a little.
    assert (as_image.cluster, found[0].cluster) == ("bridge", "bridge")


def test_pictures_that_cannot_be_decoded_are_reported_and_the_others_added(
    shipped: Deduplicator, tmp_path: Path
) -> None:
    flipped = io.BytesIO()
    with Image.open(BISON) as picture:
        picture.convert("L").save(flipped, "PNG")
    added = shipped.add_many({"broken": b"no picture", "missing": tmp_path / "missing.jpg", "grey": flipped.getvalue()})
    assert set(added.refused) == {"broken", "missing"}
    assert "not a JPEG" in added.refused["broken"]
    assert [decision.image_id for decision in added.decisions] == ["grey"]
    with pytest.raises(BadPicture):
        shipped.add("broken", b"no picture")


def test_an_image_beyond_max_pixels_is_refused() -> None:
    settings = Settings(images={"max_pixels": 10_000})  # type: ignore[arg-type]
    with Deduplicator.in_memory(settings) as dedup:
        with pytest.raises(BadPicture, match="max_pixels"):
            dedup.add("large", Image.new("RGB", (200, 200)))
        with pytest.raises(BadPicture, match="max_pixels"):
            dedup.add("large", BRIDGE)
