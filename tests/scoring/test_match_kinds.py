"""Match kinds: what a pair is called, and what that does to its score."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from neardup_platform.errors import BadArtefact
from neardup_platform.images.picture_embedder import PictureEmbedder
from neardup_platform.records import KIND_NAMES, NEAR_DUPLICATES, MatchKind
from neardup_platform.scoring.additive import AdditiveModel, Curve
from neardup_platform.scoring.card import SHIPPED_FOLDER, write_card
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.match_kinds import Claim, MatchKinds, codes_of
from neardup_platform.scoring.second_look import EVIDENCE, SecondLook
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import ImageSettings

PICTURES = Path(__file__).parents[2] / "samples/pictures"
SAMPLES = sorted(PICTURES.glob("*.jpg"))[:12]
SAME, ALTERED, TEMPLATE, SCENE = (KIND_NAMES.index(kind) for kind in MatchKind)


def model(feature: str) -> AdditiveModel:
    """The logit is the feature, between −9 and 9."""
    curves = [Curve(n, (-9.0, 9.0), (-9.0, 9.0) if n == feature else (0.0, 0.0)) for n in EVIDENCE]
    return AdditiveModel(tuple(curves), 0.0)


KINDS = MatchKinds(
    model("scale"),
    (Claim("same-template", model("added"), 0.7), Claim("same-scene", model("shear"), 0.9)),
)


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def judge(
    score: float,
    altered: float,
    template: float = 0.1,
    scene: float = 0.1,
    clustering: tuple[str, ...] = NEAR_DUPLICATES,
    equal: bool = False,
) -> tuple[float, str]:
    seen = np.zeros((1, len(EVIDENCE)))
    for name, probability in (("scale", altered), ("added", template), ("shear", scene)):
        seen[0, EVIDENCE.index(name)] = logit(probability)
    judged = KINDS.judge(np.array([score], np.float32), seen, np.array([equal]), 0.4, clustering)
    return float(judged.scores[0]), KIND_NAMES[judged.kinds[0]]


def test_a_near_duplicate_is_the_same_picture_or_an_altered_copy_and_keeps_its_score() -> None:
    assert judge(0.9, 0.2) == (np.float32(0.9), "same")
    assert judge(0.9, 0.8) == (np.float32(0.9), "altered-copy")
    assert judge(0.3, 0.8) == (np.float32(0.3), "")


def test_equal_vectors_are_the_same_whatever_the_models_say() -> None:
    assert judge(0.9, 0.8, template=0.8, equal=True) == (np.float32(0.9), "same")


def test_a_pair_of_a_kind_that_does_not_cluster_scores_what_is_left_for_the_others() -> None:
    assert judge(0.9, 0.8, template=0.8) == (pytest.approx(0.9 * 0.2), "same-template")
    assert judge(0.9, 0.8, clustering=("same",)) == (pytest.approx(0.9 * 0.2), "altered-copy")
    assert judge(0.9, 0.2, clustering=("same",)) == (np.float32(0.9), "same")


def test_a_pair_of_a_kind_that_clusters_scores_what_either_makes_likely() -> None:
    every = tuple(MatchKind)
    assert judge(0.1, 0.5, template=0.8, clustering=every) == (pytest.approx(1 - 0.9 * 0.2), "same-template")
    assert judge(0.1, 0.5, scene=0.95, clustering=every) == (pytest.approx(1 - 0.9 * 0.05), "same-scene")
    assert judge(0.1, 0.5, template=0.6, scene=0.8, clustering=every) == (np.float32(0.1), "")


def test_names_of_other_releases_are_no_kind() -> None:
    assert codes_of(["same-scene", "", "same", "of-next-year"]).tolist() == [SCENE, 0, SAME, 0]


def test_kinds_survive_the_card_and_must_fit_the_evidence() -> None:
    look = SecondLook(0.1, 8, model("scale"), "", KINDS)
    assert SecondLook.parse(json.loads(json.dumps(asdict(look)))) == look
    with pytest.raises(ValueError, match=f"has 1 features, expected {len(EVIDENCE)}"):
        replace(look, kinds=MatchKinds(AdditiveModel((Curve("a", (0.0,), (0.0,)),), 0.0), ()))
    with pytest.raises(ValueError, match=r"kind 'same' claimed from 0\.5"):
        MatchKinds(model("scale"), (Claim("same", model("added"), 0.5),))


def caption(picture: Image.Image, text: str) -> Image.Image:
    """A meme: large white letters with a black rim, at the top and at the bottom."""
    captioned = picture.copy()
    draw = ImageDraw.Draw(captioned)
    size = picture.width // 10
    for line, y in zip(text.split("/"), (0.02, 0.86), strict=True):
        left = (picture.width - draw.textlength(line, font_size=size)) / 2
        at = left, y * picture.height
        draw.text(at, line, fill="white", stroke_fill="black", stroke_width=size // 12, font_size=size)
    return captioned


@pytest.fixture(scope="module")
def classifier() -> PairClassifier:
    return PairClassifier(SHIPPED_FOLDER)


@pytest.fixture(scope="module")
def vectors(classifier: PairClassifier) -> ImageVectors:
    """Five rows of pictures: originals, smaller ones, crops, and two with other captions."""
    originals = [Image.open(path).convert("RGB") for path in SAMPLES]
    rows = [
        originals,
        [p.resize((p.width * 3 // 5, p.height * 3 // 5)) for p in originals],
        [p.crop((p.width // 9, p.height // 12, p.width, p.height * 9 // 10)) for p in originals],
        [caption(p, "ONE DOES NOT SIMPLY/WALK INTO PRODUCTION") for p in originals],
        [caption(p, "WHEN THE BUILD IS GREEN/BUT NOBODY KNOWS WHY") for p in originals],
    ]
    embedder = PictureEmbedder(ImageSettings(), classifier.required_models)
    try:
        lsh, pair = embedder.embed([np.asarray(picture) for row in rows for picture in row])
    finally:
        embedder.close()
    return ImageVectors(lsh.astype(np.float16), pair.astype(np.float16))


def rows(number: int) -> np.ndarray:
    return np.arange(len(SAMPLES)) + number * len(SAMPLES)


def test_smaller_pictures_are_the_same_and_crops_are_altered(classifier: PairClassifier, vectors: ImageVectors) -> None:
    assert (classifier.judge(vectors, rows(0), vectors, rows(0)).kinds == SAME).all()
    smaller = classifier.judge(vectors, rows(0), vectors, rows(1))
    cropped = classifier.judge(vectors, rows(0), vectors, rows(2))
    assert (smaller.kinds == SAME).mean() > 0.9
    assert (cropped.kinds == ALTERED).mean() > 0.9
    unrelated = classifier.judge(vectors, rows(0), vectors, np.roll(rows(1), 1))
    assert not unrelated.kinds.any()


def test_another_text_on_one_template_clusters_only_where_the_setting_says_so(
    classifier: PairClassifier, vectors: ImageVectors
) -> None:
    by_default = classifier.judge(vectors, rows(3), vectors, rows(4))
    claimed = by_default.kinds == TEMPLATE
    assert claimed.sum() >= 3
    assert (by_default.scores[claimed] < classifier.threshold).all()
    more = PairClassifier(SHIPPED_FOLDER, clustering=(*NEAR_DUPLICATES, "same-template"))
    joined = more.judge(vectors, rows(3), vectors, rows(4))
    assert np.array_equal(joined.kinds, by_default.kinds)
    assert (joined.scores[claimed] >= classifier.threshold).all()
    assert np.array_equal(joined.scores[~claimed], by_default.scores[~claimed])


def test_altered_copies_can_be_kept_from_clustering(classifier: PairClassifier, vectors: ImageVectors) -> None:
    strict = PairClassifier(SHIPPED_FOLDER, clustering=("same",))
    cropped = strict.judge(vectors, rows(0), vectors, rows(2))
    assert (cropped.scores < classifier.threshold)[cropped.kinds == ALTERED].all()
    smaller, before = (each.judge(vectors, rows(0), vectors, rows(1)) for each in (strict, classifier))
    assert np.array_equal(smaller.scores[smaller.kinds == SAME], before.scores[smaller.kinds == SAME])


@pytest.fixture
def without_kinds(classifier: PairClassifier, tmp_path: Path) -> Path:
    """The shipped classifier, as one trained without labels of kinds, or before there were kinds."""
    folder = tmp_path / "classifier"
    shutil.copytree(SHIPPED_FOLDER, folder)
    assert classifier.card.second_look is not None
    write_card(replace(classifier.card, second_look=replace(classifier.card.second_look, kinds=None)), folder)
    return folder


def test_pairs_of_which_no_kind_is_claimed_score_as_without_kinds(
    classifier: PairClassifier, vectors: ImageVectors, without_kinds: Path
) -> None:
    before = PairClassifier(without_kinds)
    a, b = np.triu_indices(len(vectors.lsh), 1)
    judged, plain = (each.judge(vectors, a, vectors, b) for each in (classifier, before))
    assert not plain.kinds.any()
    others = judged.kinds < TEMPLATE
    assert np.array_equal(judged.scores[others], plain.scores[others])
    assert np.array_equal(judged.scores, classifier.score(vectors, a, vectors, b))


@pytest.mark.parametrize("clustering", [("same",), (*NEAR_DUPLICATES, "same-template")])
def test_a_classifier_without_kinds_refuses_a_setting_that_needs_them(
    clustering: tuple[str, ...], without_kinds: Path
) -> None:
    with pytest.raises(BadArtefact, match=r"knows no match kinds, scoring\.kinds has same.*neardup train --kinds"):
        PairClassifier(without_kinds, clustering=clustering)


def test_a_kind_that_could_not_be_learned_is_refused() -> None:
    with pytest.raises(BadArtefact, match="knows only the kinds same, altered-copy, same-template, scoring"):
        PairClassifier(SHIPPED_FOLDER, clustering=(*NEAR_DUPLICATES, "same-scene"))
