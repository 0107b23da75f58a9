"""How far an hour differs from the hours before it, and whether that needs a look. Pure.

Profile of the hour, profile of the reference → distances → verdicts, each with the next step
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neardup_platform.hourly_quality.profile import Profile
from neardup_platform.hourly_quality.verdicts import Verdict
from neardup_platform.settings import QualitySettings

# With fewer, the population stability index of two equal distributions is easily above 0.1.
LEAST_DECISIONS = 500
LEAST_VECTORS = 200


@dataclass(frozen=True, slots=True)
class Drift:
    """Distances of an hour from the reference; None where there is too little of either.

    Attributes:
        score_psi, candidate_psi: population stability index of the scores of the best match, and of the numbers of
            candidates: Σ (p − q) · ln(p / q) over bins, with half an image added to each. Above 0.25 is commonly taken
            for a major shift.
        score_ks: largest difference of the distribution functions of the scores (Kolmogorov–Smirnov), over bins.
        vector_shift: distance of the mean `lsh` vectors, 0 to 2; beyond what samples of this size differ by chance.
        joined_change: share of images that joined, divided by that of the reference.
        crowd: share of the images that joined that joined one cluster.
        top_term_change: share of the commonest terms, divided by that of the reference.
    """

    score_psi: float | None
    score_ks: float | None
    candidate_psi: float | None
    vector_shift: float | None
    joined_change: float | None
    crowd: float | None
    top_term_change: float | None


def drift_of(hour: Profile, reference: Profile) -> Drift:
    """Compare an hour with a reference."""
    enough = min(hour.decisions, reference.decisions) >= LEAST_DECISIONS
    sampled = min(hour.vectors, reference.vectors) >= LEAST_VECTORS and len(hour.vector_sum) == len(
        reference.vector_sum
    )
    joins = enough and reference.joined > 0
    return Drift(
        score_psi=stability_index(hour.scores, reference.scores) if enough else None,
        score_ks=largest_difference(hour.scores, reference.scores) if enough else None,
        candidate_psi=stability_index(hour.candidates, reference.candidates) if enough else None,
        vector_shift=_shift(hour, reference) if sampled else None,
        joined_change=hour.joined / hour.decisions / (reference.joined / reference.decisions) if joins else None,
        crowd=hour.most_joined / hour.joined if hour.joined >= LEAST_DECISIONS else None,
        top_term_change=hour.top_terms / hour.vectors / (reference.top_terms / reference.vectors)
        if sampled and reference.top_terms
        else None,
    )


def stability_index(found: Sequence[int], expected: Sequence[int]) -> float:
    """The population stability index of two histograms with the same bins."""
    p, q = (np.asarray(counts, np.float64) + 0.5 for counts in (found, expected))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def largest_difference(found: Sequence[int], expected: Sequence[int]) -> float:
    """The largest difference of the distribution functions of two histograms with the same bins, neither empty."""
    p, q = (np.cumsum(counts) / np.sum(counts) for counts in (found, expected))
    return float(np.abs(p - q).max())


def _shift(hour: Profile, reference: Profile) -> float:
    """The distance of the means, less what chance explains.

    The mean of n vectors of length 1 around a mean m has the variance (1 − |m|²) / n, summed over dimensions.
    """
    mine, theirs = np.array(hour.vector_sum) / hour.vectors, np.array(reference.vector_sum) / reference.vectors
    chance = (1 - mine @ mine) / hour.vectors + (1 - theirs @ theirs) / reference.vectors
    return float(np.sqrt(max(0.0, ((mine - theirs) ** 2).sum() - chance)))


def judge_drift(hour: Profile, reference: Profile, limits: QualitySettings) -> list[Verdict]:
    """The verdicts on an hour."""
    found = drift_of(hour, reference)
    psi, shift, crowd = found.score_psi, found.vector_shift, found.crowd
    most_psi, most_shift = limits.max_score_psi, limits.max_vector_shift
    return [
        Verdict("scores_are_as_before", _above(psi, most_psi, _SCORES), value=psi, limit=most_psi),
        Verdict("embeddings_are_as_before", _above(shift, most_shift, _VECTORS), value=shift, limit=most_shift),
        Verdict("as_many_are_duplicates", _changed(found.joined_change, limits), value=found.joined_change),
        Verdict("no_cluster_is_flooded", _flooded(hour, found, limits), value=crowd, limit=limits.max_crowd),
        Verdict("one_version_decides", _mixed(hour), value=len(hour.versions)),
    ]


_SCORES = (
    "the scores of the best match are spread differently than in the hours before (population stability index "
    "{found:.2f}, at most {limit:.2f} is expected): if no classifier was promoted, see whether the pictures are of "
    "another kind (quality/what_if, docs/accuracy.md)"
)
_VECTORS = (
    "the mean `lsh` vector has moved by {found:.3f} (at most {limit:.3f} is expected): see whether a producer uses "
    "another model under the same version, or sends another kind of pictures"
)


def _above(found: float | None, limit: float, text: str) -> str | None:
    return None if found is None or found <= limit else text.format(found=found, limit=limit)


def _changed(found: float | None, limits: QualitySettings) -> str | None:
    most = limits.max_duplicate_change
    if found is None or 1 / most <= found <= most:
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
