"""How far an hour differs from the hours before it, and whether that needs a look. Pure.

Profile of the hour, profile of the reference → distances → verdicts, each with the next step
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neardup_platform.hourly_quality.chance import mean_square_chance, stability_chance, surely_more_often
from neardup_platform.hourly_quality.profile import Profile
from neardup_platform.hourly_quality.verdicts import Verdict
from neardup_platform.settings import QualitySettings

# With fewer, the population stability index of two equal distributions is easily above 0.1.
LEAST_DECISIONS = 500
LEAST_VECTORS = 200
NO_HOURS = Profile()
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """Distances of an hour from the reference; None where there is too little of either.

    Attributes:
        score_psi, candidate_psi: population stability index of the scores of the best match, and of the numbers of
            candidates: Σ (p − q) · ln(p / q) over bins, with half an image added to each; beyond chance, copies that
            came together counted as one. Above 0.25 is commonly taken for a major shift.
        score_ks: largest difference of the distribution functions of the scores (Kolmogorov–Smirnov), over bins.
        vector_shift: distance of the mean `lsh` vectors, 0 to 2; beyond what samples of this size differ by chance.
        spread_shift: how differently the vectors are spread: the part of the Fréchet distance of two Gaussians that is
            due to their covariances (Dowson and Landau, *The Fréchet distance between multivariate normal
            distributions*, 1982), along 16 fixed directions, beyond chance, as a share of the reference's standard
            deviation. 0 for none.
        length_change: mean length of the vectors as announced, divided by that of the reference. Only the direction
            decides, but another model or another way to prepare pictures often changes it.
        start_psi, start_ks: as `score_psi` and `score_ks`, against the first hours that the classifier decided.
        undistinctive_change: share of undistinctive images, divided by that of the reference.
        joined_change: share of images that joined, divided by that of the reference.
        crowd: share of the images that joined that joined one cluster.
        term_change: how often two images have the same term of a table, divided by that of the reference.
    """

    score_psi: float | None
    score_ks: float | None
    candidate_psi: float | None
    vector_shift: float | None
    joined_change: float | None
    crowd: float | None
    term_change: float | None
    spread_shift: float | None
    length_change: float | None
    start_psi: float | None
    start_ks: float | None
    undistinctive_change: float | None


def drift_of(hour: Profile, reference: Profile, start: Profile = NO_HOURS) -> Drift:
    """Compare an hour with a reference.

    Args:
        start: of the first hours that the classifier of the hour decided.
    """
    enough = min(hour.decisions, reference.decisions) >= LEAST_DECISIONS
    sampled = min(hour.vectors, reference.vectors) >= LEAST_VECTORS and len(hour.vector_sum) == len(
        reference.vector_sum
    )
    joins = enough and reference.joined > 0
    known = min(hour.decisions, start.decisions) >= LEAST_DECISIONS
    return Drift(
        score_psi=_stability(hour, reference, "scores") if enough else None,
        score_ks=largest_difference(hour.scores, reference.scores) if enough else None,
        candidate_psi=_stability(hour, reference, "candidates") if enough else None,
        vector_shift=_shift(hour, reference) if sampled else None,
        joined_change=hour.joined / hour.decisions / (reference.joined / reference.decisions) if joins else None,
        crowd=hour.most_joined / hour.joined if hour.joined >= LEAST_DECISIONS else None,
        term_change=hour.term_pairs / hour.vector_pairs / (reference.term_pairs / reference.vector_pairs)
        if sampled and hour.vector_pairs and reference.term_pairs
        else None,
        spread_shift=_spread_shift(hour, reference) if sampled and hour.products and reference.products else None,
        length_change=hour.lengths / hour.vectors / (reference.lengths / reference.vectors)
        if sampled and hour.lengths and reference.lengths
        else None,
        start_psi=_stability(hour, start, "scores") if known else None,
        start_ks=largest_difference(hour.scores, start.scores) if known else None,
        undistinctive_change=hour.undistinctive / hour.decisions / (reference.undistinctive / reference.decisions)
        if enough and reference.undistinctive
        else None,
    )


def stability_index(found: Sequence[float] | Vector, expected: Sequence[float] | Vector) -> float:
    """The population stability index of two histograms with the same bins."""
    p, q = (np.asarray(counts, np.float64) + 0.5 for counts in (found, expected))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def largest_difference(found: Sequence[int], expected: Sequence[int]) -> float:
    """The largest difference of the distribution functions of two histograms with the same bins, neither empty."""
    p, q = (np.cumsum(counts) / np.sum(counts) for counts in (found, expected))
    return float(np.abs(p - q).max())


def _stability(hour: Profile, reference: Profile, name: Literal["scores", "candidates"]) -> float:
    """The population stability index of the profiles' histograms of that name, less what chance explains.

    As many images count as one as joined the same cluster, on average.
    """
    size = max(hour.crowd_size, reference.crowd_size)
    found, expected = (np.asarray(getattr(each, name), np.float64) / size for each in (hour, reference))
    chance = stability_chance(hour.decisions / size, reference.decisions / size, len(found))
    return max(0.0, stability_index(found, expected) - chance)


def _shift(hour: Profile, reference: Profile) -> float:
    """The distance of the means, less what chance explains.

    The mean of n vectors of length 1 around a mean m has the variance (1 − |m|²) / n, summed over dimensions, and the
    square of its distance is about that times χ² / d, with the d of equally spread dimensions (Satterthwaite, *An
    approximate distribution of estimates of variance components*, 1946).
    """
    mine, theirs = np.array(hour.vector_sum) / hour.vectors, np.array(reference.vector_sum) / reference.vectors
    variance = (1 - mine @ mine) / hour.vectors + (1 - theirs @ theirs) / reference.vectors
    chance = variance * mean_square_chance(_dimensions(reference))
    return float(np.sqrt(max(0.0, ((mine - theirs) ** 2).sum() - chance)))


def _dimensions(reference: Profile) -> float:
    """Over how many dimensions the vectors are spread, as if equally: (tr S)² / tr S², at most of the measured ones."""
    spread = reference.spread
    if spread is None or not (squares := float((spread**2).sum())):
        return float(len(reference.vector_sum))
    return float(np.trace(spread)) ** 2 / squares


def _spread_shift(hour: Profile, reference: Profile) -> float:
    """The relative distance of the spreads, less what chance explains; 0 where there is no spread.

    The squared distance is tr A + tr B − 2 tr (√A B √A)^½. For small differences D of the covariance it is
    ½ Σ D_ij² / (λ_i + λ_j) in the directions of its eigenvalues λ (Bhatia, Jain and Lim, *On the Bures–Wasserstein
    distance between positive definite matrices*, 2019), and D_ij² of n Gaussian vectors is λ_i λ_j (1 + δ_ij) / n on
    average.
    """
    mine, theirs = hour.spread, reference.spread
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return 0.0
    values, vectors = np.linalg.eigh(theirs)
    values = values.clip(0)
    root = (vectors * np.sqrt(values)) @ vectors.T
    crossed = np.sqrt(np.linalg.eigvalsh(root @ mine @ root).clip(0)).sum()
    squared = np.trace(mine) + np.trace(theirs) - 2 * crossed
    sums = np.add.outer(values, values)
    expected = np.outer(values, values) * (1 + np.eye(len(values)))
    chance = 0.5 * np.divide(expected, sums, out=np.zeros_like(sums), where=sums > 0).sum()
    chance *= 1 / hour.vectors + 1 / reference.vectors
    total = float(values.sum())
    return float(np.sqrt(max(0.0, squared - chance) / total)) if total else 0.0


def judge_drift(hour: Profile, reference: Profile, limits: QualitySettings, start: Profile = NO_HOURS) -> list[Verdict]:
    """The verdicts on an hour; arguments as of `drift_of`."""
    found = drift_of(hour, reference, start)
    psi, shift, crowd, terms = found.score_psi, found.vector_shift, found.crowd, found.term_change
    most_psi, most_shift, most_terms = limits.max_score_psi, limits.max_vector_shift, limits.max_term_change
    return [
        Verdict("scores_are_as_before", _above(psi, most_psi, _SCORES), value=psi, limit=most_psi),
        Verdict(
            "scores_fit_the_classifier",
            _above(found.start_psi, most_psi, _START),
            value=found.start_psi,
            limit=most_psi,
            good="" if found.start_psi is not None else "too few decisions, or the classifier has just begun",
        ),
        Verdict("embeddings_are_as_before", _vectors(found, limits), value=shift, limit=most_shift),
        Verdict("terms_are_as_before", _above(terms, most_terms, _TERMS), value=terms, limit=most_terms),
        Verdict("as_many_are_duplicates", _changed(hour, reference, found, limits), value=found.joined_change),
        Verdict("no_cluster_is_flooded", _flooded(hour, found, limits), value=crowd, limit=limits.max_crowd),
        Verdict("one_version_decides", _mixed(hour), value=len(hour.versions)),
    ]


_SCORES = (
    "the scores of the best match are spread differently than in the hours before (population stability index "
    "{found:.2f}, at most {limit:.2f} is expected): if no classifier was promoted, see whether the pictures are of "
    "another kind (quality/what_if, docs/accuracy.md)"
)
_START = (
    "the scores of the best match are spread differently than in the first 24 hours that this classifier decided "
    "(population stability index {found:.2f}, at most {limit:.2f} is expected): the pictures have become others, "
    "perhaps slowly; label pairs of today and train it again (job train_classifier)"
)
_TERMS = (
    "two images have the same term {found:.2f} times as often as in the hours before (at most {limit:g} times is "
    "expected): many are alike in the term space; if that lasts, fit the terms to these pictures (asset term_space)"
)


def _above(found: float | None, limit: float, text: str) -> str | None:
    return None if found is None or found <= limit else text.format(found=found, limit=limit)


def _vectors(found: Drift, limits: QualitySettings) -> str | None:
    """In which ways the vectors differ."""
    ways = []
    if found.vector_shift is not None and found.vector_shift > limits.max_vector_shift:
        ways.append(f"their mean has moved by {found.vector_shift:.3f} (at most {limits.max_vector_shift:.3f})")
    if found.spread_shift is not None and found.spread_shift > limits.max_spread_shift:
        ways.append(f"their spread has changed by {found.spread_shift:.2f} (at most {limits.max_spread_shift:.2f})")
    most, length = limits.max_length_change, found.length_change
    if length is not None and not 1 / most <= length <= most:
        ways.append(f"they are {length:.2f} times as long (1/{most:g} to {most:g})")
    if not ways:
        return None
    return (
        f"the `lsh` vectors are not those of the hours before: {'; '.join(ways)}. See whether a producer uses another "
        "model under the same version, or sends another kind of pictures"
    )


def _changed(hour: Profile, reference: Profile, drift: Drift, limits: QualitySettings) -> str | None:
    most, found = limits.max_duplicate_change, drift.joined_change
    if found is None:
        return None
    # Copies that came together are one event.
    size = max(hour.crowd_size, reference.crowd_size)
    now, before = ((each.joined / size, each.decisions / size) for each in (hour, reference))
    if not surely_more_often(*now, *before, most) and not surely_more_often(*before, *now, most):
        return None
    return (
        f"{found:.2f} times as many images join a cluster as in the hours before (1/{most:g} to {most:g} is expected): "
        "see the examples of quality/what_if, and whether one producer sends the same pictures again"
    )


def _flooded(hour: Profile, found: Drift, limits: QualitySettings) -> str | None:
    if found.crowd is None or found.crowd <= limits.max_crowd:
        return None
    return (
        f"{hour.most_joined:,} of {hour.joined:,} images that joined a cluster joined that of {hour.crowded} "
        f"({found.crowd:.0%}, at most {limits.max_crowd:.0%} is expected): if it is spam or a template, put it into "
        "quarantine (job override, action quarantine)"
    )


def _mixed(hour: Profile) -> str | None:
    kinds = Counter(name.split(" ", 1)[0] for name in hour.versions)
    mixed = {name: count for name, count in hour.versions.items() if kinds[name.split(" ", 1)[0]] > 1}
    if not mixed:
        return None
    listed = ", ".join(f"{count:,} by {name}" for name, count in mixed.items())
    return (
        f"images of this hour were decided by different versions: {listed}. After a promotion in this hour that is as "
        "it should be, and the next hour has one version again"
    )
