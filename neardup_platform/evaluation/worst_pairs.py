"""The pairs that an evaluation got most wrong: where a better classifier, or a corrected label, helps first.

Outcome → **worst false positives, worst misses, mixed clusters** → report and picture sheet.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from neardup_platform.evaluation.measures import MIXED_GROUPS
from neardup_platform.evaluation.outcome import Evaluation, Outcome, outcome

MOST_PAIRS = 40
# Otherwise one bad group, or one pair of groups, would fill the list.
_OF_THE_SAME_GROUPS = 3


@dataclass(frozen=True, slots=True)
class EvaluatedPair:
    """Two pictures and what the evaluation decided about them.

    Attributes:
        later, earlier: row numbers.
        score: pair score; None if the earlier was not a candidate of the later.
        threshold: the minimum score of a match.
        heads: rows of the heads of both, the later's first.
    """

    later: int
    earlier: int
    score: float | None
    threshold: float
    heads: tuple[int, int]

    @property
    def together(self) -> bool:
        """Whether both are in the same cluster."""
        return self.heads[0] == self.heads[1]

    @property
    def matched(self) -> bool:
        """Whether their score is a match."""
        return self.score is not None and self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class MixedCluster:
    """A cluster of several true groups: row number of its head, and its rows by group, largest group first."""

    head: int
    groups: tuple[tuple[int, ...], ...]


def worst_false_positives(evaluation: Evaluation, most: int = MOST_PAIRS) -> list[EvaluatedPair]:
    """Pairs of different groups with the highest scores, highest first, matches or not.

    At most three pairs of the same two groups are listed.
    """
    whole = outcome(evaluation)
    wrong = np.flatnonzero(~whole.true)
    ordered = wrong[np.argsort(-whole.scores[wrong], kind="stable")]
    pairs = ((int(whole.later[p]), int(whole.earlier[p]), float(whole.scores[p])) for p in ordered)
    return _selected(evaluation, whole, pairs, most)


def worst_misses(evaluation: Evaluation, most: int = MOST_PAIRS) -> list[EvaluatedPair]:
    """True pairs that are not in the same cluster: first those that were no candidates, then by ascending score.

    At most three pairs of one group are listed. Unreadable pictures are excluded; they are counted elsewhere.
    """
    whole = outcome(evaluation)
    scored = {(int(whole.later[p]), int(whole.earlier[p])): float(whole.scores[p]) for p in np.flatnonzero(whole.true)}
    missed = [
        (later, earlier, scored.get((later, earlier)))
        for earlier, later in _true_pairs(evaluation, whole)
        if whole.heads[later] != whole.heads[earlier]
    ]
    missed.sort(key=lambda pair: (-1.0 if pair[2] is None else pair[2], pair[:2]))
    return _selected(evaluation, whole, missed, most)


def mixed_clusters(evaluation: Evaluation) -> list[MixedCluster]:
    """Clusters of MIXED_GROUPS or more true groups, those with most groups first."""
    whole = outcome(evaluation)
    held: dict[int, dict[int, list[int]]] = {}
    for number, head, group in zip(whole.numbers.tolist(), whole.heads.tolist(), whole.groups.tolist(), strict=True):
        held.setdefault(head, {}).setdefault(group, []).append(number)
    mixed = [
        MixedCluster(
            head, tuple(sorted((tuple(rows) for rows in groups.values()), key=lambda rows: (-len(rows), rows)))
        )
        for head, groups in held.items()
        if len(groups) >= MIXED_GROUPS
    ]
    return sorted(mixed, key=lambda cluster: (-len(cluster.groups), cluster.head))


def _true_pairs(evaluation: Evaluation, whole: Outcome) -> Iterable[tuple[int, int]]:
    """Positions of two readable pictures of the same group, the one decided earlier first."""
    refused = evaluation.embedded.refused
    readable = [at for at, number in enumerate(whole.numbers.tolist()) if number not in refused]
    members: dict[int, list[int]] = {}
    for at in readable:
        members.setdefault(int(whole.groups[at]), []).append(at)
    return (pair for rows in members.values() for pair in combinations(rows, 2))


def _selected(
    evaluation: Evaluation, whole: Outcome, pairs: Iterable[tuple[int, int, float | None]], most: int
) -> list[EvaluatedPair]:
    threshold = {int(number): run.matching.threshold for run in evaluation.runs for number in run.part}
    taken, chosen = Counter[tuple[int, int]](), list[EvaluatedPair]()
    for later, earlier, score in pairs:
        if len(chosen) == most:
            break
        between = sorted((int(whole.groups[later]), int(whole.groups[earlier])))
        taken[(between[0], between[1])] += 1
        if taken[(between[0], between[1])] > _OF_THE_SAME_GROUPS:
            continue
        numbers = int(whole.numbers[later]), int(whole.numbers[earlier])
        heads = int(whole.heads[later]), int(whole.heads[earlier])
        chosen.append(EvaluatedPair(*numbers, score, threshold[numbers[0]], heads))
    return chosen
