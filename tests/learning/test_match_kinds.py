"""Match kinds are learned from labels of pictures, and claimed only where held-out pairs show that it is precise."""

import numpy as np
import pytest

from neardup_platform.learning.classifier.candidate_pairs import Pairs
from neardup_platform.learning.classifier.match_kinds import (
    FOLDS,
    SELVES,
    KindPairs,
    kind_pairs,
    pairs_with_themselves,
    picture_folds,
    place_pairs,
    train_match_kinds,
)
from neardup_platform.learning.classifier.second_look import Looked
from neardup_platform.learning.embedder.kind_labels import (
    EITHER,
    NO_LABELS,
    UNKNOWN,
    KindLabels,
    kind_labels,
    true_kinds,
)
from neardup_platform.records import KIND_NAMES
from neardup_platform.scoring.second_look import EVIDENCE

SAME, ALTERED, TEMPLATE, SCENE = range(1, 5)


def test_transformations_say_whether_a_copy_is_altered_and_unknown_ones_say_nothing() -> None:
    changes = [kind_labels({"transformation": name}).change for name in ("resize", " crop ", "WP 150x150", "blank", "")]
    assert changes == ["same", "altered-copy", "", "blank", ""]
    assert kind_labels({"template": " drake ", "scene": None}) == KindLabels("", "drake", "")
    assert kind_labels({}) == NO_LABELS


@pytest.mark.parametrize(
    ("one", "other", "same_group", "kind"),
    [
        (KindLabels("same"), KindLabels("same"), True, SAME),
        (KindLabels("same"), KindLabels("altered-copy"), True, ALTERED),
        (KindLabels("same"), NO_LABELS, True, UNKNOWN),
        (NO_LABELS, NO_LABELS, False, 0),
        (KindLabels("same", "form"), KindLabels("altered-copy", "form"), False, TEMPLATE),
        (KindLabels("same", "form"), KindLabels("same", "form"), True, SAME),
        (KindLabels("blank", "form"), KindLabels("", "form"), False, EITHER),
        (KindLabels("", "form"), KindLabels("", "other"), False, 0),
        (KindLabels(scene="park"), KindLabels(scene="park"), False, SCENE),
    ],
)
def test_labels_of_two_pictures_give_the_kind_of_the_pair(
    one: KindLabels, other: KindLabels, same_group: bool, kind: int
) -> None:
    for labels in ((one, other), (other, one)):
        assert true_kinds(labels, np.array([0]), np.array([1]), np.array([same_group])).tolist() == [kind]


def test_a_template_and_a_few_scenes_are_never_on_both_sides_of_a_fold() -> None:
    labels = [KindLabels(scene=f"scene {n % 3}") for n in range(9)] + [KindLabels(template="t")] * 2 + [NO_LABELS] * 3
    folds = picture_folds(labels, [""] * 12 + ["g", "g"])
    assert len(set(folds[:3])) == 3
    assert np.array_equal(folds[:3], folds[3:6])
    assert folds[9] == folds[10]
    assert folds[12] == folds[13]


def test_pictures_of_one_template_are_paired_though_they_are_not_of_one_group() -> None:
    vectors = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float16)
    labels = [KindLabels(template="a"), KindLabels(template="b")] * 3
    pairs = place_pairs(labels, vectors, [""] * 6)
    assert not pairs.same.any()
    looked = Looked(np.arange(len(pairs.a)), np.zeros((len(pairs.a), len(EVIDENCE))))
    assert (kind_pairs(labels, [""] * 6, pairs, looked).kinds == TEMPLATE).sum() == 6


def test_some_pictures_are_paired_with_themselves() -> None:
    few, many = pairs_with_themselves(3), pairs_with_themselves(10_000)
    assert few.a.tolist() == few.b.tolist() == [0, 1, 2]
    assert (len(many.a), many.a[0], many.a[-1]) == (SELVES, 0, 9_999)
    assert many.same.all()


def examples(kind: int, count: int, **features: float) -> KindPairs:
    """Pairs with some features around a value, the others around 0."""
    rng = np.random.default_rng(count)
    seen = rng.standard_normal((count, len(EVIDENCE))) * 0.3
    for name, value in features.items():
        seen[:, EVIDENCE.index(name)] += value
    folds = np.arange(count) % FOLDS
    return KindPairs(seen, np.full(count, kind, np.int8), np.stack([folds, folds], axis=1))


LEARNABLE = [
    examples(SAME, 101),
    examples(ALTERED, 102, scale=2.0),
    examples(TEMPLATE, 103, scale=2.0, added=2.0),
    examples(UNKNOWN, 50, scale=2.0),
    examples(0, 200, residual=2.0),
]


def test_kinds_that_the_evidence_tells_are_learned() -> None:
    kinds, metrics = train_match_kinds(LEARNABLE)
    assert kinds is not None
    assert kinds.known == ("same", "altered-copy", "same-template")
    assert set(metrics) == {"same", "altered-copy", "same-template"}
    assert min(row["precision"] for row in metrics.values()) > 0.9
    assert min(row["recall"] for row in metrics.values()) > 0.9
    probe = examples(TEMPLATE, 30, scale=2.0, added=2.0)
    different = np.zeros(30, np.bool_)
    judged = kinds.judge(np.full(30, 0.9, np.float32), probe.evidence, different, 0.5, ("same", "altered-copy"))
    assert (judged.kinds == TEMPLATE).mean() > 0.8


def test_a_kind_that_the_evidence_does_not_tell_is_never_claimed_and_the_metrics_say_so() -> None:
    kinds, metrics = train_match_kinds([*LEARNABLE, examples(SCENE, 60, residual=2.0)])
    assert kinds is not None
    assert "same-scene" not in kinds.known
    assert metrics["same-scene"]["pairs"] == 60
    assert (metrics["same-scene"]["precision"], metrics["same-scene"]["recall"]) == (None, 0.0)


def test_a_blank_template_and_a_text_on_it_count_neither_for_nor_against_a_claim() -> None:
    blanks = examples(EITHER, 60, scale=2.0, added=2.0)
    kinds, metrics = train_match_kinds([*LEARNABLE, blanks._replace(evidence=blanks.evidence * 0.5)])
    assert kinds is not None
    assert metrics["same-template"]["precision"] > 0.9


def test_without_labels_there_are_no_kinds() -> None:
    assert train_match_kinds([examples(UNKNOWN, 100, scale=2.0), examples(0, 200)]) == (None, {})
    few = Pairs(np.array([0]), np.array([1]), np.array([True]))
    alone = kind_pairs([NO_LABELS] * 2, ["g", "g"], few, Looked(np.array([0]), np.zeros((1, len(EVIDENCE)))))
    assert train_match_kinds([alone]) == (None, {})


def test_codes_are_those_of_the_records() -> None:
    assert KIND_NAMES == ("", "same", "altered-copy", "same-template", "same-scene")
