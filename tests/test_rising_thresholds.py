"""Claims about thresholds that rise with the corpus: those of an image depend on its place in the order alone."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Decision, JoinedImage
from neardup_platform.scoring.threshold_table import StratumThresholds, ThresholdStep, ThresholdTable
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.reprocess.replay import replay
from neardup_platform.testing import LSH_DIM, CosineScorer, InMemoryWorker, families, image, small_pipeline


def thresholds(match: float, head: float) -> StratumThresholds:
    return StratumThresholds(match, head, 1.0, 0.5, 2.0, 0.99, 0.9)


# Steps in the middle of the batches below.
TABLE = ThresholdTable(
    None,
    (
        ThresholdStep(0, thresholds(0.9, 0.8), thresholds(0.92, 0.85)),
        ThresholdStep(5, thresholds(0.95, 0.8), thresholds(0.99, 0.97)),
        ThresholdStep(20, thresholds(0.97, 0.96), thresholds(0.995, 0.99)),
    ),
)
SCORER = CosineScorer(threshold_table=TABLE)
IMAGES = families(12, 4, noise=0.2)
X, Y = np.eye(LSH_DIM)[:2]


def decide(images: list[JoinedImage], sizes: list[int], pipeline: Pipeline | None = None) -> list[Decision]:
    pipeline, at = pipeline or small_pipeline(scorer=SCORER), 0
    decisions: list[Decision] = []
    while at < len(images):
        size = sizes[len(decisions) % len(sizes)]
        decisions += [d for batch in pipeline.decide(images[at : at + size], at + 1, 7) for d in batch.decisions]
        at += size
    return decisions


def test_every_decision_records_the_thresholds_of_its_place_and_stratum() -> None:
    decisions = decide(IMAGES, [8])
    assert [decision.corpus_images for decision in decisions] == list(range(len(IMAGES)))
    for each, decision in zip(IMAGES, decisions, strict=True):
        assert decision.undistinctive == bool(each.lsh.vector[0] < 0)
        row = TABLE.at(decision.corpus_images, undistinctive=decision.undistinctive)
        assert (decision.threshold, decision.head_threshold) == (row.match, row.head)
        assert decision.founded or (decision.score >= row.match and decision.head_score >= row.head)
    assert {decision.threshold for decision in decisions} == {0.9, 0.92, 0.95, 0.97, 0.99, 0.995}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 50))
def test_decisions_do_not_depend_on_the_batches(sizes: list[int], seed: int) -> None:
    images = families(10, 3, seed, noise=0.25)
    assert decide(images, sizes) == decide(images, [1])


def near(image_id: str, cosine: float, sign: float = 1.0) -> JoinedImage:
    return image(image_id, sign * (cosine * X + np.sqrt(1 - cosine**2) * Y))


def others(count: int) -> list[JoinedImage]:
    return [image(f"other {n}", np.eye(LSH_DIM)[2 + n]) for n in range(count)]


@pytest.mark.parametrize(("before", "joins"), [(3, True), (4, False)])
def test_the_same_pair_matches_in_a_small_corpus_and_no_more_from_the_next_step_on(before: int, *, joins: bool) -> None:
    # The image has the original and the others before it; its score lies between the thresholds of both steps.
    decisions = decide([near("original", 1.0), *others(before), near("copy", 0.93)], [100])
    assert decisions[-1].founded != joins


def test_an_undistinctive_image_needs_a_better_score() -> None:
    plain = decide([near("original", 1.0, -1), near("copy", 0.91, -1)], [2])
    other = decide([near("original", 1.0), near("copy", 0.91)], [2])
    assert [d.founded for d in plain] == [True, True]
    assert [d.founded for d in other] == [True, False]


def test_a_preview_applies_the_thresholds_of_the_present_corpus() -> None:
    pipeline = small_pipeline(scorer=SCORER)
    decide([near("original", 1.0), *others(4)], [3], pipeline)
    example = near("copy", 0.93, 1)
    vectors = ImageVectors(*(e.vector.astype(np.float16)[None] for e in (example.lsh, example.pair)))
    found = pipeline.preview(vectors, matches_only=True)
    (decision,) = decide([example], [1], pipeline)
    assert (
        (found.thresholds.match, found.thresholds.head) == (decision.threshold, decision.head_threshold) == (0.95, 0.8)
    )
    assert found.ruling.head is None
    assert decision.founded


@pytest.mark.parametrize("name", ["threshold", "head_threshold"])
def test_a_threshold_of_the_settings_holds_everywhere(name: str) -> None:
    given = Settings(scoring={name: 0.7})
    matching = Matching.of(given, SCORER)
    for images in (0, 5, 10**6):
        for undistinctive in (False, True):
            found = matching.thresholds(images, undistinctive=undistinctive)
            assert (found.match, found.head) == (
                given.scoring.threshold or SCORER.threshold,
                given.scoring.head_threshold or SCORER.head_threshold,
            )
    assert Matching.of(Settings(), SCORER).thresholds(5, undistinctive=True).match == 0.99


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_replay_and_a_restart_decide_the_same(tmp_path: Path, batch: int) -> None:
    with closing(InMemoryWorker(tmp_path / "one", scorer=SCORER)) as worker:
        worker.decide(IMAGES, 7)
        expected = worker.decisions()
        with closing(Store(tmp_path / "two")) as target:
            replay(worker.store, target, small_pipeline(scorer=SCORER), batch)
            assert target.state().digest == worker.store.state().digest
    half = InMemoryWorker(tmp_path / "three", scorer=SCORER)
    half.decide(IMAGES[:18], batch)
    half.decide_uncommitted(IMAGES[18:25])  # Killed before the commit.
    half.close()
    with closing(InMemoryWorker(tmp_path / "three", scorer=SCORER)) as rest:
        rest.decide(IMAGES[18:], batch)
        assert rest.decisions() == expected


def test_an_override_applies_the_recorded_thresholds_again(tmp_path: Path) -> None:
    rival = image("rival", 0.91 * X + np.sqrt(1 - 0.91**2) * np.eye(LSH_DIM)[15])
    with closing(InMemoryWorker(tmp_path, scorer=SCORER)) as worker:
        worker.decide([near("original", 0.93), rival, image("copy", X), *others(8)])
        assert worker.heads()["copy"] == "original"
        worker.override("forbid", "copy", "original")
        # In the present corpus a score of 0.91 would be no match.
        assert worker.heads()["copy"] == "rival"


def test_an_image_embedded_again_has_the_thresholds_of_its_new_place(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path, scorer=SCORER)) as worker:
        worker.decide([near("original", 1.0), near("copy", 0.93), *others(8)])
        worker.replace(near("copy", 0.93))
        again = worker.decisions()[-1]
        assert (again.image_id, again.corpus_images) == ("copy", 10)
        assert again.threshold == pytest.approx(0.95)
        assert again.founded


def test_undistinctive_images_are_stored_and_counted(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path, scorer=SCORER)) as worker:
        worker.decide(IMAGES)
        plain = {each.image_id for each in IMAGES if each.lsh.vector[0] < 0}
        assert 0 < len(plain) < len(IMAGES)
        assert {image_id for image_id, record in worker.store.images.all() if record.undistinctive} == plain
        assert worker.store.state().counters["undistinctive"] == len(plain)
