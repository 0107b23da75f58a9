"""Decides some images of a corpus again, one after the other, with the others where they are.

Images taken out of their clusters → decided in order, heads first → **those that come into another cluster**

Until an image is decided again it is in no cluster, so that none is held in place by one that is about to leave. Heads
are decided before members, and a head keeps its cluster as long as a member stays that is not decided again: so a
cluster that survives keeps its head.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from neardup_platform.clusters.decision import Constraint
from neardup_platform.corpus import Corpus, Ordinals
from neardup_platform.decide import NO_HEAD, Ruling, decide, decided_again
from neardup_platform.records import Cause, Decision
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.stream.redecide.demands import Demands
from neardup_platform.stream.redecide.rules import Rules
from neardup_platform.stream.redecide.weighing import Weighed


class Places:
    """The clusters of a corpus with some images elsewhere, or nowhere yet."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._heads: dict[int, int] = {}
        self._sizes: Counter[int] = Counter()

    def put(self, ordinal: int, head: int) -> None:
        """Put an image into the cluster of a head, or with `NO_HEAD` into none."""
        before = self.head_of(ordinal)
        self._heads[ordinal] = head
        self._sizes[before] -= before != NO_HEAD
        self._sizes[head] += head != NO_HEAD

    def head_of(self, ordinal: int) -> int:
        """The head of an image's cluster; `NO_HEAD` if it is in none."""
        found = self._heads.get(ordinal)
        return self._corpus.head_of(ordinal) if found is None else found

    def heads_of(self, ordinals: Ordinals) -> Ordinals:
        """See `Clusters`."""
        heads = self._corpus.heads_of(ordinals)
        moved = [row for row, ordinal in enumerate(ordinals.tolist()) if ordinal in self._heads]
        if moved:
            heads = np.array(heads)
            heads[moved] = [self._heads[ordinal] for ordinal in ordinals[moved].tolist()]
        return heads

    def id_of(self, ordinal: int) -> str:
        """See `Clusters`."""
        return self._corpus.id_of(ordinal)

    def size_of(self, head: int) -> int:
        """See `Clusters`."""
        return self._corpus.size_of(head) + self._sizes[head]

    def vectors_of(self, ordinal: int) -> ImageVectors:
        """See `Clusters`."""
        return self._corpus.vectors_of(ordinal)

    @property
    def clusters_more(self) -> int:
        """How many more clusters there are than in the corpus."""
        return sum((self.size_of(head) > 0) - (self._corpus.size_of(head) > 0) for head in self._sizes)


@dataclass(frozen=True, slots=True)
class Regrouped:
    """What came of some images.

    Attributes:
        moved: decisions about images that come into another cluster, heads of clusters before images that join them.
            The caller numbers them.
        kept: heads that were not decided again, because members of theirs stay.
        held: images that stay where overrides put them with others.
    """

    moved: Sequence[Decision] = field(default_factory=tuple)
    kept: int = 0
    held: int = 0


def regroup(
    images: Sequence[Weighed], places: Places, corpus: Corpus, rules: Rules, demands: Demands, now_ms: int
) -> Regrouped:
    """Decide images again; `places` shows afterwards where they are.

    Args:
        demands: of the overrides.
        now_ms: the clock, Unix milliseconds.
    """
    free = [image for image in images if not demands.hold(image.image_id)]
    before = {image.ordinal: places.head_of(image.ordinal) for image in free}
    counts = Counter(before.values())
    stays = {head for head in before if before[head] == head and places.size_of(head) > counts[head]}
    chosen = sorted(
        (image for image in free if image.ordinal not in stays and before[image.ordinal] != NO_HEAD),
        key=lambda image: (before[image.ordinal] != image.ordinal, image.ordinal),
    )
    for image in chosen:
        places.put(image.ordinal, NO_HEAD)
    moved = []
    for image in chosen:
        ruling = _rule(image, places, corpus, rules, demands.of(image.image_id, places))
        head = image.ordinal if ruling.head is None else ruling.head
        places.put(image.ordinal, head)
        if head != before[image.ordinal]:
            moved.append(decided_again(image.recorded, ruling, Cause.REPROCESS, now_ms))
    return Regrouped(moved, len(stays), len(images) - len(free))


def _rule(image: Weighed, places: Places, corpus: Corpus, rules: Rules, constraint: Constraint) -> Ruling:
    def head_score(head: int) -> float:
        score = image.score_of(head)
        if score < image.thresholds.head:  # It may be no candidate, or one that the second look passed over.
            rows = corpus.vectors.rows
            score = rules.matcher.pair_score(rows, image.ordinal, rows, head)
        return score

    return decide(image.evidence(places), image.thresholds, head_score, places, constraint)
