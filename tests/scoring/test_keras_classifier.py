"""Claims about the pair classifier: honest metrics, fast and equal scores, and no score from a damaged one."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.learning.classifier.training import train
from neardup_platform.scoring.card import CARD_FILE, NETWORK_FILE, SHIPPED_FOLDER, read_card
from neardup_platform.scoring.features import pair_features
from neardup_platform.scoring.keras_classifier import MIN_PART_PAIRS, PART_PAIRS, PairClassifier, split_pairs
from neardup_platform.scoring.vectors import ImageVectors
from tests.scoring.labelled import RECIPE, Labelled, labelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("classifier")
    train(labelled(), out, RECIPE)
    return out


@pytest.fixture(scope="module")
def classifier(folder: Path) -> PairClassifier:
    return PairClassifier(folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def score(classifier: PairClassifier, data: Labelled, a: Sequence[int], b: Sequence[int]) -> np.ndarray:
    vectors = ImageVectors(data.lsh, data.pair)
    return classifier.score(vectors, np.array(a, np.int64), vectors, np.array(b, np.int64))


def test_unseen_pairs_are_separated(classifier: PairClassifier) -> None:
    unseen = labelled(seed=77)
    same = score(classifier, unseen, range(0, 120, 3), range(1, 120, 3))
    apart = score(classifier, unseen, range(0, 117, 3), range(3, 120, 3))
    assert (same >= classifier.threshold).mean() > 0.8
    assert (apart >= classifier.threshold).mean() < 0.05


def test_scores_are_probabilities_and_symmetric(classifier: PairClassifier) -> None:
    scores = score(classifier, labelled(), range(100), range(100, 200))
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(scores, score(classifier, labelled(), range(100, 200), range(100)), atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_scores_do_not_depend_on_threads_and_parts(folder: Path, threads: int) -> None:
    data, rng = labelled(), np.random.default_rng(1)
    vectors = ImageVectors(data.lsh, data.pair)
    rows_a, rows_b = rng.integers(0, len(data.groups), (2, 2 * PART_PAIRS + 77))
    shared = PairClassifier(folder, threads)
    scores = shared.score(vectors, rows_a, vectors, rows_b)
    expected = shared.network(pair_features(vectors, rows_a, vectors, rows_b, shared.card.blocks))
    assert np.array_equal(scores, expected)
    assert len(np.unique(scores)) > 1_000


@pytest.mark.parametrize("pairs", [0, 1, MIN_PART_PAIRS, 2 * MIN_PART_PAIRS, PART_PAIRS + 1, 10 * PART_PAIRS - 3])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_parts_cover_each_pair_once_and_none_is_too_large(pairs: int, threads: int) -> None:
    parts = split_pairs(pairs, threads)
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(pairs))
    assert all(0 < part.stop - part.start <= PART_PAIRS for part in parts)
    assert len(parts) >= min(threads, pairs // MIN_PART_PAIRS)
    assert len(parts) <= 1 or len(parts) % threads == 0


def test_no_pairs_give_no_scores(classifier: PairClassifier) -> None:
    assert score(classifier, labelled(), [], []).shape == (0,)


def test_vectors_of_another_dimension_are_rejected_with_the_numbers(classifier: PairClassifier) -> None:
    data, one = labelled(), np.zeros(1, np.int64)
    right, narrow = ImageVectors(data.lsh, data.pair), ImageVectors(data.lsh, data.pair[:, :-1])
    for a, b in ((right, narrow), (narrow, right)):
        with pytest.raises(BadArtefact, match=r"scores vectors of 32 and 46 .*, got 32 and 45"):
            classifier.score(a, one, b, one)


def test_the_same_data_and_seed_give_the_same_classifier(folder: Path, tmp_path: Path) -> None:
    again = train(labelled(), tmp_path, RECIPE)
    assert again.version == read_card(folder).version
    assert again.metrics == read_card(folder).metrics


def test_the_card_has_metrics_and_ordered_thresholds(classifier: PairClassifier) -> None:
    card = classifier.card
    at = card.metrics["at_threshold"]
    assert at["precision"] >= 0.95
    assert at["precision_95_low"] < at["precision"] <= at["precision_95_high"]
    assert 0 < card.head_threshold <= card.threshold < 1
    assert card.metrics["pair_best_f1"] > 0.8
    assert card.metrics["calibration_error"] < 0.05


def test_held_out_metrics_of_random_vectors_are_poor(tmp_path: Path) -> None:
    data, rng = labelled(), np.random.default_rng(9)
    noise = Labelled(
        data.groups,
        rng.normal(size=data.lsh.shape).astype(np.float16),
        rng.normal(size=data.pair.shape).astype(np.float16),
    )
    assert train(noise, tmp_path, RECIPE).metrics["pair_average_precision"] < 0.2


def test_too_few_groups_to_hold_any_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="at least 5 groups of two or more pictures, the data has 4"):
        train(labelled(groups=4), tmp_path, RECIPE)


def test_a_damaged_network_is_rejected(copy: Path) -> None:
    data = bytearray((copy / NETWORK_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / NETWORK_FILE).write_bytes(data)
    with pytest.raises(BadArtefact, match=r"model\.keras is damaged"):
        PairClassifier(copy)


def test_an_edited_threshold_is_rejected(copy: Path) -> None:
    card = json.loads((copy / CARD_FILE).read_text())
    card["threshold"] = 0.01
    (copy / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(BadArtefact, match="changed after training"):
        PairClassifier(copy)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 9}', '{"format": 1}'])
def test_a_file_that_is_no_card_is_rejected_in_one_line(copy: Path, content: str) -> None:
    (copy / CARD_FILE).write_text(content)
    with pytest.raises(BadArtefact) as caught:
        PairClassifier(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", [CARD_FILE, NETWORK_FILE])
def test_a_missing_file_is_rejected(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(BadArtefact, match="cannot be read"):
        PairClassifier(copy)


def test_the_shipped_classifier_has_the_documented_quality() -> None:
    card = PairClassifier(SHIPPED_FOLDER).card
    assert (card.lsh_dim, card.pair_dim) == (256, 1479)
    # Over the look-alikes too: of the pictures of galleries and shops alone, 0.98 and 0.97.
    assert card.metrics["pair_best_f1"] >= 0.93
    assert card.metrics["pair_recall_at_p99"] >= 0.8
    assert card.metrics["calibration_error"] <= 0.02
    assert card.metrics["at_threshold"]["precision_95_low"] >= card.training["target_precision"]
