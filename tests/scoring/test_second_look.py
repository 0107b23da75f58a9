"""The second look tells copies of a picture from look-alikes, and its scores are functions of the two images alone."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from neardup_platform.errors import BadArtefact
from neardup_platform.images.picture_embedder import PictureEmbedder
from neardup_platform.scoring.additive import AdditiveModel, Curve
from neardup_platform.scoring.card import SHIPPED_FOLDER
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.second_look import (
    EVIDENCE,
    LIMIT,
    SecondLook,
    best_pairs,
    sketch_slice,
    split_by_row,
    structure_of,
)
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import ImageSettings
from neardup_platform.structure import agreement
from tests.scoring.variants import variant

SAMPLES = sorted((Path(__file__).parents[2] / "samples/pictures").glob("*.jpg"))[:12]
PICTURES = len(SAMPLES)


def receipt(seed: int) -> Image.Image:
    """A page of one shop: the same layout, other words and sums."""
    rng, page = np.random.default_rng(seed), Image.new("RGB", (300, 480), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((20, 20, 280, 60), outline="black", width=3)
    draw.text((60, 30), "CORNER SHOP", fill="black", font_size=24)
    for line in range(14):
        word = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVW"), rng.integers(4, 11)))
        draw.text((24, 80 + 26 * line), word, fill="black", font_size=17)
        draw.text((220, 80 + 26 * line), f"{rng.uniform(1, 99):.2f}", fill="black", font_size=17)
    return page


def nearly_blank(number: int) -> np.ndarray:
    """A page with nothing on it but its number."""
    page = Image.new("RGB", (300, 420), "white")
    ImageDraw.Draw(page).text((140, 390), str(number), fill="black", font_size=16)
    return np.asarray(page)


def altered(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    crop = picture.crop((width // 25, height // 30, width - width // 30, height - height // 25))
    return crop.resize((crop.width * 3 // 4, crop.height * 3 // 4))


@pytest.fixture(scope="module")
def classifier() -> PairClassifier:
    return PairClassifier(SHIPPED_FOLDER)


@pytest.fixture(scope="module")
def vectors(classifier: PairClassifier) -> ImageVectors:
    """Sample pictures, altered copies of them, six receipts of one shop, copies of these."""
    originals = [Image.open(path).convert("RGB") for path in SAMPLES] + [receipt(seed) for seed in range(6)]
    pictures = originals[:PICTURES] + [altered(p) for p in originals[:PICTURES]]
    pictures += originals[PICTURES:] + [altered(p) for p in originals[PICTURES:]]
    embedder = PictureEmbedder(ImageSettings(), classifier.required_models)
    try:
        lsh, pair = embedder.embed([np.asarray(picture) for picture in pictures])
    finally:
        embedder.close()
    return ImageVectors(lsh.astype(np.float16), pair.astype(np.float16))


def all_pairs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(len(rows), 1)
    return rows[first], rows[second]


def test_copies_match_and_receipts_of_one_shop_do_not(classifier: PairClassifier, vectors: ImageVectors) -> None:
    originals, receipts = np.arange(PICTURES), np.arange(2 * PICTURES, 2 * PICTURES + 6)
    for rows, offset in ((originals, PICTURES), (receipts, 6)):
        assert (classifier.score(vectors, rows, vectors, rows + offset) >= classifier.threshold).all()
    a, b = all_pairs(receipts)
    assert (classifier.score(vectors, a, vectors, b) < classifier.threshold).all()


def test_nearly_blank_and_plain_pictures_are_undistinctive_and_photographs_are_not(
    classifier: PairClassifier, vectors: ImageVectors
) -> None:
    assert not classifier.undistinctive(vectors)[: 2 * PICTURES].any()
    embedder = PictureEmbedder(ImageSettings(), classifier.required_models)
    try:
        colours = [np.full((240, 320, 3), colour, np.uint8) for colour in ((200, 30, 30), (0, 90, 0))]
        lsh, pair = embedder.embed([*colours, *(nearly_blank(number) for number in range(10, 16))])
    finally:
        embedder.close()
    plain = ImageVectors(lsh.astype(np.float16), pair.astype(np.float16))
    assert classifier.undistinctive(plain).all()


def test_distinctiveness_depends_on_the_image_alone(classifier: PairClassifier, vectors: ImageVectors) -> None:
    every = classifier.undistinctive(vectors)
    for row in (0, PICTURES, 2 * PICTURES):
        one = ImageVectors(*(kind[row : row + 1] for kind in vectors))
        assert classifier.undistinctive(one).tolist() == [every[row]]
    without = ImageVectors(vectors.lsh, vectors.pair.copy())
    without.pair[:, sketch_slice(classifier.card.blocks)] = 0
    assert classifier.undistinctive(without).tolist() == every.tolist(), "a picture without a sketch is judged too"


def test_scores_are_symmetric_and_do_not_depend_on_the_batch(classifier: PairClassifier, vectors: ImageVectors) -> None:
    a, b = all_pairs(np.arange(len(vectors.lsh)))
    together = classifier.score(vectors, a, vectors, b)
    some = np.append(np.flatnonzero(together >= classifier.card.second_look.floor), np.arange(0, len(a), 11))
    assert (together[some] > 0.5).sum() >= PICTURES
    for n in some:
        one, other = a[n : n + 1], b[n : n + 1]
        assert classifier.score(vectors, one, vectors, other)[0] == together[n]
        assert classifier.score(vectors, other, vectors, one)[0] == pytest.approx(together[n], abs=1e-5)


def test_threads_do_not_change_scores(classifier: PairClassifier, vectors: ImageVectors) -> None:
    a, b = all_pairs(np.arange(len(vectors.lsh)))
    for threads in (2, 3):
        shared = PairClassifier(SHIPPED_FOLDER, threads)
        assert np.array_equal(shared.score(vectors, a, vectors, b), classifier.score(vectors, a, vectors, b))


@dataclass
class StoredVectors:
    """A store whose images have these vectors, row by row.

    Attributes:
        read: the ordinals that were asked for, call by call.
    """

    vectors: ImageVectors
    read: list[list[int]] = field(default_factory=list)

    def ordinals(self) -> int:
        return len(self.vectors.lsh)

    def pairs(self, ordinals: Sequence[int]) -> list[bytes | None]:
        self.read.append(list(ordinals))
        return [self.vectors.pair[ordinal].tobytes() for ordinal in ordinals]


def test_mapped_rows_are_judged_like_vectors_in_memory_and_few_pair_vectors_are_read(
    classifier: PairClassifier, vectors: ImageVectors, tmp_path: Path
) -> None:
    store, images = StoredVectors(vectors), len(vectors.lsh)
    queries, candidates = np.repeat(np.arange(images), images), np.tile(np.arange(images), images)
    with closing(WrittenVectors(tmp_path, "s", classifier.required_models, 0, store)) as table:
        table.append(vectors)
        found = classifier.judge(vectors, queries, table.rows, candidates)
        expected = classifier.judge(vectors, queries, vectors, candidates)
        assert np.array_equal(found.scores, expected.scores)
        assert np.array_equal(found.kinds, expected.kinds)
        assert found.kinds.any()
        assert all(len(set(ordinals)) == len(ordinals) for ordinals in store.read)
        # One image against itself, its copy and all others: a read for each round of the second look.
        store.read.clear()
        one = np.zeros(images, np.int64)
        assert np.array_equal(
            classifier.score(table.rows, one, table.rows, candidates[:images]), expected.scores[:images]
        )
        looked = {ordinal for ordinals in store.read for ordinal in ordinals}
        assert {0, PICTURES} <= looked
        assert len(looked) < images / 2
        # A forgotten image has no sketch.
        table.erase(np.array([PICTURES]))
        assert not classifier.first_scores(vectors, one[:1], table.rows, one[:1] + PICTURES) > 0.5


def test_without_a_sketch_the_first_score_stands(classifier: PairClassifier, vectors: ImageVectors) -> None:
    bare = vectors.pair.copy()
    bare[:, sketch_slice(classifier.card.blocks)] = 0
    without = ImageVectors(vectors.lsh, bare)
    rows = np.arange(PICTURES)
    first = classifier.first_scores(vectors, rows, vectors, rows + PICTURES)
    assert np.array_equal(classifier.score(without, rows, without, rows + PICTURES), first)
    assert np.array_equal(classifier.score(vectors, rows, without, rows + PICTURES), first)
    assert np.isnan(classifier.evidence(first, without, rows, vectors, rows + PICTURES)).any(axis=1).all()


def test_nonsense_in_the_place_of_a_sketch_gives_a_score(classifier: PairClassifier, vectors: ImageVectors) -> None:
    rng, place = np.random.default_rng(0), sketch_slice(classifier.card.blocks)
    for low, high in ((0, 2_047), (-60_000, 60_000), (1, 2), (16, 17)):
        pair = vectors.pair.copy()
        pair[:, place] = rng.uniform(low, high, pair[:, place].shape)
        nonsense = ImageVectors(vectors.lsh, pair)
        rows = np.arange(PICTURES)
        scores = classifier.score(nonsense, rows, nonsense, rows + PICTURES)
        assert ((scores >= 0) & (scores <= 1)).all()


def test_structure_is_equal_in_both_directions(classifier: PairClassifier, vectors: ImageVectors) -> None:
    sketches = vectors.pair[:, sketch_slice(classifier.card.blocks)]
    a, b = np.arange(PICTURES), np.arange(PICTURES, 2 * PICTURES)
    one_way = structure_of(sketches, a, sketches, b)
    assert np.array_equal(one_way, structure_of(sketches, b, sketches, a))
    assert np.isfinite(one_way).all()
    assert (one_way[:, agreement.NAMES.index("fine_correlation")] > 0.7).mean() > 0.8


def test_the_best_pairs_of_each_row_are_looked_at_the_older_first() -> None:
    first = np.array([0.9, 0.1, 0.5, 0.5, 0.5, 0.8, 0.2], np.float32)
    rows_a, rows_b = np.array([0, 0, 0, 0, 0, 3, 3]), np.array([7, 1, 9, 2, 4, 5, 6])
    assert best_pairs(first, rows_a, rows_b, 0.2, 3).tolist() == [0, 3, 4, 5, 6]
    assert best_pairs(first, rows_a, rows_b, 0.85, 3).tolist() == [0]
    assert best_pairs(first, rows_a, rows_b, 0.95, 3).tolist() == []
    shuffled = np.random.default_rng(1).permutation(7)
    found = best_pairs(first[shuffled], rows_a[shuffled], rows_b[shuffled], 0.2, 3)
    assert shuffled[found].tolist() == [0, 3, 4, 5, 6]


def model_of(curve: Callable[[str], float], offset: float) -> AdditiveModel:
    return AdditiveModel(tuple(Curve(name, (0.0, 1.0), (0.0, curve(name))) for name in EVIDENCE), offset)


def test_pairs_that_are_passed_over_score_the_floor_at_most() -> None:
    look = SecondLook(0.25, 2, model_of(lambda name: float(name == "first_logit"), 1.0), "")
    first = np.array([0.9, 0.8, 0.7, 0.1], np.float32)

    def see(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        assert pairs.tolist() == [0, 1]
        seen = np.zeros((2, len(EVIDENCE)))
        seen[1, 5] = np.nan
        return seen

    scores = look.scores(first, np.zeros(4, np.int64), np.arange(4), see).scores
    assert scores.tolist() == pytest.approx([1 / (1 + np.exp(-1)), 0.8, 0.25, 0.1])


def test_a_round_without_a_promising_pair_is_the_last_of_its_image() -> None:
    look = SecondLook(0.25, 24, model_of(lambda name: 8.0 * (name == "fine_correlation"), -4.0), "")
    agreeing = {(1, 2), (1, 6), (2, 5)}
    asked: list[list[tuple[int, int]]] = []
    rows_a, rows_b = np.repeat(np.arange(4), [9, 9, 9, 2]), np.concatenate([np.arange(9)] * 3 + [np.arange(2)])
    first = (0.9 - rows_b / 100).astype(np.float32)

    def see(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.append([(int(rows_a[n]), int(rows_b[n])) for n in pairs])
        seen = np.zeros((len(pairs), len(EVIDENCE)))
        seen[:, EVIDENCE.index("fine_correlation")] = [pair in agreeing for pair in asked[-1]]
        return seen

    scores, looked, _ = look.scores(first, rows_a, rows_b, see)
    assert [(int(rows_a[n]), int(rows_b[n])) for n in looked] == [pair for each in asked for pair in each]
    assert asked == [
        [(a, b) for a in (0, 1, 2) for b in (0, 1, 2, 3)] + [(3, 0), (3, 1)],
        [(1, b) for b in (4, 5, 6, 7)],
        [(1, 8)],
    ]
    assert {(a, b) for a, b, score in zip(rows_a, rows_b, scores, strict=True) if score > 0.9} == {(1, 2), (1, 6)}
    assert (scores[(rows_a == 2) & (rows_b > 3)] == 0.25).all()


def test_agreement_raises_a_score_by_a_bounded_number_of_logits_and_lowers_it_by_any() -> None:
    first = np.array([0.1, 0.1, 0.9], np.float32)
    seen = np.zeros((3, len(EVIDENCE)))
    seen[:, EVIDENCE.index("first_logit")] = np.log(first / (1 - first))
    seen[:, EVIDENCE.index("fine_correlation")] = [1.0, 0.0, 0.0]
    model = model_of(lambda name: 9.0 * (name == "fine_correlation"), -4.0)
    bounded, free = (SecondLook(0.05, 3, model, "", most_rise=rise) for rise in (2.0, None))
    scores = {
        look: look.scores(first, np.zeros(3, np.int64), np.arange(3), lambda n: seen[n]).scores
        for look in (bounded, free)
    }
    low = 1 / (1 + np.exp(4))
    assert scores[free].tolist() == pytest.approx([1 / (1 + np.exp(-5)), low, low], rel=1e-5)
    assert scores[bounded].tolist() == pytest.approx([1 / (1 + 9 * np.exp(-2)), low, low], rel=1e-5)


@pytest.mark.parametrize("rise", [-0.1, float("nan")])
def test_a_rise_that_is_none_is_rejected(rise: float) -> None:
    with pytest.raises(ValueError, match="logits at most: 0 or more"):
        SecondLook(0.1, 8, model_of(lambda _: 0.0, 0.0), "", most_rise=rise)


def test_the_terms_of_an_explanation_add_up_to_the_score(classifier: PairClassifier, vectors: ImageVectors) -> None:
    look = classifier.card.second_look
    assert look is not None
    assert look.most_rise is not None
    limited = 0
    for a, b in zip(*all_pairs(np.arange(len(vectors.lsh))), strict=True):
        first, terms = classifier.explain(vectors, int(a), vectors, int(b))
        if terms:
            (score,) = look.scores(
                np.array([first], np.float32),
                np.zeros(1, np.int64),
                np.zeros(1, np.int64),
                lambda _, a=a, b=b, first=first: classifier.evidence(
                    np.array([first], np.float32), vectors, np.array([a]), vectors, np.array([b])
                ),
            ).scores
            assert 1 / (1 + np.exp(-look.model.offset - sum(terms.values()))) == pytest.approx(float(score), abs=1e-5)
            limited += LIMIT in terms
    assert limited, "a copy agrees so well that its first score limits it"


def test_plain_pictures_in_other_colours_are_never_copies() -> None:
    look = SecondLook(0.25, 9, model_of(lambda _: 0.0, 3.0), "")
    seen = np.zeros((4, len(EVIDENCE)))
    seen[:, EVIDENCE.index("flat")] = [1, 1, 0, 0]
    seen[:, EVIDENCE.index("colour_most")] = np.log1p([2.5, 3.5, 2.5, 3.5])
    scores = look.scores(np.full(4, 0.9, np.float32), np.zeros(4, np.int64), np.arange(4), lambda _: seen).scores
    assert (scores > 0.9).tolist() == [True, False, True, True]
    assert scores[1] == 0.25


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_parts_cover_all_pairs_and_split_no_row(parts: int) -> None:
    for rows in ([], [4], [4, 4, 4], [0, 0, 1, 1, 1, 2, 5, 5], list(range(40))):
        found = list(split_by_row(np.array(rows, np.int64), parts))
        assert [n for part in found for n in range(part.start, part.stop)] == list(range(len(rows)))
        assert len(found) <= parts
        assert all(rows[part.start] != rows[part.start - 1] for part in found if part.start)


def test_a_model_of_other_features_is_rejected() -> None:
    with pytest.raises(ValueError, match=f"has 1 features, expected {len(EVIDENCE)}"):
        SecondLook(0.1, 8, AdditiveModel((Curve("a", (0.0,), (0.0,)),), 0.0), "")


@pytest.mark.parametrize(("floor", "most"), [(0.0, 8), (1.0, 8), (float("nan"), 8), (0.1, 0), (0.1, 1_001)])
def test_bounds_that_are_none_are_rejected(floor: float, most: int) -> None:
    model = AdditiveModel(tuple(Curve(name, (0.0,), (0.0,)) for name in EVIDENCE), 0.0)
    with pytest.raises(ValueError, match="a second look from"):
        SecondLook(floor, most, model, "")


def test_a_classifier_whose_reference_is_missing_is_rejected(tmp_path: Path) -> None:
    variant(tmp_path / "copy", "other")
    (tmp_path / "copy/reference.npy").unlink()
    with pytest.raises(BadArtefact, match=r"cannot be read .*reference\.npy"):
        PairClassifier(tmp_path / "copy")
