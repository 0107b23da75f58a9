"""Match kinds: how two images resemble each other, and whether that is reason enough to put them into one cluster.

Evidence of the second look, near-duplicate score → **kind, score** → decision. Three questions, each with an additive
model of the same evidence: is a near-duplicate altered or the same picture; is it another text on one template; is it
another view of one scene. The last two are claimed only from a probability that was precise on held-out groups. Pure.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import KIND_NAMES, MatchKind
from neardup_platform.scoring.additive import AdditiveModel

Scores = NDArray[np.float32]
Codes = NDArray[np.uint8]
Evidence = NDArray[np.float64]

# A near-duplicate is called altered from this probability.
_ALTERED = 0.5


class Judged(NamedTuple):
    """Scores and kinds of n pairs.

    Attributes:
        scores: float32 [n], calibrated probability, 0…1, that the pair is of a kind that clusters.
        kinds: uint8 [n], positions in `KIND_NAMES`; 0 where no kind is claimed.
    """

    scores: Scores
    kinds: Codes


@dataclass(frozen=True, slots=True)
class Claim:
    """A kind that is claimed only where it is likely.

    Attributes:
        kind: a `MatchKind` that is no near-duplicate.
        model: of the evidence, calibrated.
        threshold: probability from which the kind is claimed, 0…1.
    """

    kind: str
    model: AdditiveModel
    threshold: float


@dataclass(frozen=True, slots=True)
class MatchKinds:
    """The models that tell kinds apart; part of a second look.

    Attributes:
        altered: probability that a near-duplicate is altered.
        claims: the other kinds that it knows; of several that are likely enough, the first is claimed.

    Raises:
        ValueError: a claim is of a kind that does not exist or is a near-duplicate, or from no probability.
    """

    altered: AdditiveModel
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        for claim in self.claims:
            if claim.kind not in (MatchKind.SAME_TEMPLATE, MatchKind.SAME_SCENE) or not 0 < claim.threshold <= 1:
                raise ValueError(f"kind {claim.kind!r} claimed from {claim.threshold}")

    @property
    def models(self) -> tuple[AdditiveModel, ...]:
        """All of them."""
        return self.altered, *(claim.model for claim in self.claims)

    @property
    def known(self) -> tuple[str, ...]:
        """The kinds that it can tell."""
        return MatchKind.SAME, MatchKind.ALTERED_COPY, *(claim.kind for claim in self.claims)

    def judge(
        self,
        scores: Scores,
        seen: Evidence,
        equal: NDArray[np.bool_],
        near_duplicate: float,
        clustering: Collection[str],
    ) -> Judged:
        """Names the kinds of pairs, and scores them as pairs of a kind that clusters.

        Where the kind clusters because it is a near-duplicate, or there is none, the score stays as it is. Otherwise
        it becomes the probability that the pair is a near-duplicate or of its kind, if this clusters, and that it is a
        near-duplicate and not of its kind, if this does not.

        Args:
            scores: float32 [n], probability of a near-duplicate.
            seen: float64 [n, len(EVIDENCE)], finite.
            equal: bool [n], whether the vectors of both are equal: they are the same, whatever the models say.
            near_duplicate: score from which a pair is a near-duplicate.
            clustering: names of the kinds that cluster.
        """
        altered = self.altered.probabilities(seen)
        close, changed = scores >= np.float32(near_duplicate), (altered >= _ALTERED) & ~equal
        kinds = np.where(close, np.where(changed, _code(MatchKind.ALTERED_COPY), _code(MatchKind.SAME)), 0)
        likely = np.where(changed, altered, 1 - altered)
        for claim in reversed(self.claims):
            found = claim.model.probabilities(seen)
            claimed = (found >= claim.threshold) & ~equal
            kinds, likely = np.where(claimed, _code(claim.kind), kinds), np.where(claimed, found, likely)
        joins = np.isin(kinds, [_code(kind) for kind in clustering])
        more = joins & np.isin(kinds, [_code(claim.kind) for claim in self.claims])
        less = ~joins & (kinds != 0)
        adjusted = np.where(more, scores + (1 - scores) * likely, np.where(less, scores * (1 - likely), scores))
        return Judged(adjusted.astype(np.float32), kinds.astype(np.uint8))

    @classmethod
    def parse(cls, content: dict[str, Any]) -> "MatchKinds":
        """Reads what `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is nothing of the kind.
        """
        claims = (
            Claim(str(each["kind"]), AdditiveModel.parse(each["model"]), float(each["threshold"]))
            for each in content["claims"]
        )
        return cls(AdditiveModel.parse(content["altered"]), tuple(claims))


def codes_of(names: Sequence[str]) -> Codes:
    """Returns the positions of kinds in `KIND_NAMES`, uint8 [n]; 0 for names of other releases."""
    return np.array([_code(name) if name in KIND_NAMES else 0 for name in names], np.uint8)


def _code(name: str) -> int:
    return KIND_NAMES.index(name)
