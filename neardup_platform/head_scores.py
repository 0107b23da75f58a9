"""Pair scores of the images of a batch against the heads of clusters that they may join."""

from collections.abc import Sequence

import numpy as np

from neardup_platform.corpus import Corpus
from neardup_platform.matching import Matcher, Scored, Thresholds
from neardup_platform.scoring.vectors import ImageVectors


class HeadScores:
    """Answers from the scored candidates where it can; scores the other heads of all matches in one call.

    A head that is a candidate below the head threshold is scored again: it may be one of those that the second look
    passed over.

    Args:
        matcher: scores pairs.
        corpus: holds the heads.
        vectors: of the batch.
        scored: candidates of the batch, row by row.
        thresholds: of each row.
    """

    def __init__(
        self,
        matcher: Matcher,
        corpus: Corpus,
        vectors: ImageVectors,
        scored: Scored,
        thresholds: Sequence[Thresholds],
    ) -> None:
        self._matcher = matcher
        self._corpus = corpus
        self._vectors = vectors
        self._scored = scored
        self._thresholds = thresholds
        self._known = self._score_heads_of_matches()

    def of(self, row: int, head: int) -> float:
        """Returns the pair score of an image of the batch against a head, by ordinal."""
        known = self._known.get((row, head))
        if known is not None:
            return known
        score = self._scored.score_of(row, head) or 0.0
        if score < self._thresholds[row].head:  # The head was founded by an image of this very batch.
            score = self._matcher.pair_score(self._vectors, row, self._corpus.vectors.rows, head)
        return score

    def _score_heads_of_matches(self) -> dict[tuple[int, int], float]:
        """Scores the heads that are no sufficient candidates and not of the batch, by (row, ordinal)."""
        scored, least = self._scored, np.array([[each.match] for each in self._thresholds], np.float32)
        rows, columns = np.nonzero(scored.scores >= least)
        heads = self._corpus.heads_of(scored.ordinals[rows, columns])
        wanted = {(int(row), int(head)) for row, head in zip(rows, heads, strict=True) if head >= 0}
        pairs = sorted(pair for pair in wanted if (scored.score_of(*pair) or 0.0) < self._thresholds[pair[0]].head)
        if not pairs:
            return {}
        each = np.array(pairs, np.int64)
        scores = self._matcher.scorer.score(self._vectors, each[:, 0], self._corpus.vectors.rows, each[:, 1])
        return dict(zip(pairs, scores.tolist(), strict=True))
