"""An additive model is the sum of its curves, and training finds curves that are there."""

import numpy as np
import pytest

from neardup_platform.learning.classifier.labelled_evidence import fit_curves
from neardup_platform.scoring.additive import AdditiveModel, Curve, knots_of, ramps
from neardup_platform.scoring.calibration import sigmoid
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card

MODEL = AdditiveModel((Curve("a", (0.0, 1.0, 3.0), (0.0, 2.0, 1.0)), Curve("b", (5.0,), (0.25,))), -1.0)


def test_the_logit_is_the_sum_of_curves_linear_between_knots_and_constant_beyond() -> None:
    features = np.array([[-9, 0], [0, 0], [0.5, 0], [1, 7], [2, 7], [99, 7]], np.float64)
    terms = MODEL.terms(features)
    assert terms[:, 0].tolist() == [0, 0, 1, 2, 1.5, 1]
    assert terms[:, 1].tolist() == [0.25] * 6
    assert MODEL.logits(features).tolist() == [-0.75, -0.75, 0.25, 1.25, 0.75, 0.25]
    assert np.allclose(MODEL.probabilities(features), sigmoid(MODEL.logits(features)))


def test_the_compiled_sum_equals_that_of_numpy() -> None:
    model = read_card(SHIPPED_FOLDER).second_look.model  # type: ignore[union-attr]
    features = np.random.default_rng(2).normal(size=(500, len(model.curves))) * 5
    for column, curve in enumerate(model.curves):
        features[: len(curve.knots), column] = curve.knots
    features[400:402, 3] = np.inf, -np.inf
    features[402, 5] = np.nan
    expected = model.offset + model.terms(features).sum(axis=1)
    assert np.allclose(model.logits(features), expected, rtol=0, atol=1e-12, equal_nan=True)
    assert np.isnan(model.logits(features)).nonzero()[0].tolist() == [402]


def test_features_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="3 features for 2 curves"):
        MODEL.logits(np.zeros((1, 3)))


def test_a_scaled_model_has_scaled_logits() -> None:
    features = np.random.default_rng(0).normal(size=(50, 2)) * 4
    assert np.allclose(MODEL.scaled(1.5, -0.5).logits(features), 1.5 * MODEL.logits(features) - 0.5)


def test_a_logit_does_not_depend_on_the_other_rows() -> None:
    features = np.random.default_rng(1).normal(size=(1_000, 2)) * 4
    whole = MODEL.logits(features)
    for row in (0, 7, 999):
        assert MODEL.logits(features[row : row + 1])[0] == whole[row]


@pytest.mark.parametrize(
    "curve",
    [
        Curve("a", (), ()),
        Curve("a", (0.0, 1.0), (0.0,)),
        Curve("a", (1.0, 1.0), (0.0, 1.0)),
        Curve("a", (2.0, 1.0), (0.0, 1.0)),
        Curve("a", (0.0, 1.0), (0.0, float("nan"))),
    ],
)
def test_a_curve_that_is_none_is_rejected_by_name(curve: Curve) -> None:
    with pytest.raises(ValueError, match="the curve of 'a'"):
        AdditiveModel((curve,), 0.0)


def test_ramps_add_up_to_the_number_of_knots_passed() -> None:
    column = np.array([-1, 0, 0.5, 1, 2.5, 4])
    assert ramps(column, (0.0, 1.0, 4.0)).sum(axis=1).tolist() == [0, 0, 0.5, 1, 1.5, 2]
    assert knots_of(np.array([1.0, 1, 1, 1, 2]), (0, 0.5, 0.6, 1)) == (1.0, 2.0)
    assert ramps(column, knots_of(np.zeros(6), (0.1, 0.9))).shape == (6, 0)


def test_fitting_finds_the_curve_that_made_the_labels() -> None:
    rng = np.random.default_rng(2)
    features = rng.uniform(-3, 3, (20_000, 3))
    # The first is right in the middle, the second rises, the third says nothing.
    logits = 4 - 3 * np.abs(features[:, 0]) + 2 * features[:, 1]
    labels = rng.uniform(size=len(logits)) < sigmoid(logits)
    model = fit_curves(features, labels, np.ones(len(labels)), ("bump", "rise", "noise"))
    assert model.features == ("bump", "rise", "noise")
    terms = model.terms(np.array([[-2.5, -2.0, -2.0], [0.0, 2.0, 2.0], [2.5, 0.0, 0.0]]))
    assert terms[1, 0] - max(terms[0, 0], terms[2, 0]) > 5
    assert terms[1, 1] - terms[0, 1] > 5
    assert np.ptp(terms[:, 2]) < 1
    found = sigmoid(model.logits(features))
    assert np.abs(found - sigmoid(logits)).mean() < 0.05
