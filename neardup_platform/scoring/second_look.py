"""The second look: the few best candidates of an image, laid over it, and judged by where they agree.

Pair scores → best candidates → sketches → alignment → **evidence → score** → decision. The first score compares each
picture as a whole, so it takes pictures of one kind, such as receipts or faces, for copies. It is one of the features
here. The others say whether the same things are in the same places, and how crowded the surroundings of both are. The
model is additive, so its terms explain a score.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.additive import AdditiveModel
from neardup_platform.scoring.calibration import sigmoid
from neardup_platform.scoring.features import SKETCH, Block
from neardup_platform.scoring.match_kinds import MatchKinds
from neardup_platform.scoring.reference import CROWDING
from neardup_platform.scoring.vectors import Float16
from neardup_platform.structure import agreement
from neardup_platform.structure.agreement import Prepared, compare
from neardup_platform.structure.sketch import HEAD, decode_sketch, have_sketches

Ordinals = NDArray[np.int64]
Scores = NDArray[np.float32]

# Logits are cut off here: a probability in float32 says nothing more beyond.
MOST_LOGIT = 8.0
_DERIVED = (
    "both_correlations", "contradicting_blocks", "replaced_blocks_share", "contradicting_log", "replaced_log",
    "flat", "colour_if_flat", "colour_if_textured", "chroma_if_textured",
)  # fmt: skip
# An image with as many doubtful candidates takes seconds.
_MOST_LOOKS = 1_000
# Pairs of an image are looked at in rounds of this many, best first, until a round has no score as high as this. Among
# look-alikes without a copy that is the first round. On held-out pictures no match was lost (docs/adr/0029).
ROUND, HOPEFUL = 4, 0.1
# Pictures without texture have nothing to lay over each other: they are equal within these levels of red, green and
# blue, or are no copies. (Of such pairs, 89% of the true ones are, and 0.5% of the others.)
PLAIN_TOLERANCE = 3.0
EVIDENCE = (
    "first_logit",
    *(f"{name}_{which}" for which in ("more", "less") for name in CROWDING),
    *agreement.NAMES,
    *_DERIVED,
)
# The term of an explanation that takes back what agreement adds beyond `SecondLook.most_rise`.
LIMIT = "limit_of_first_score"


class Looks(NamedTuple):
    """What a second look found out about n pairs.

    Attributes:
        scores: float32 [n], of all pairs.
        pairs: int64 [m], the pairs looked at.
        seen: float64 [m, len(EVIDENCE)], their evidence.
    """

    scores: Scores
    pairs: Ordinals
    seen: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SecondLook:
    """How far and with which model to look again; part of a classifier.

    Attributes:
        floor: first score, 0…1, from which a pair is looked at.
        most: pairs of one image that are looked at, best first, as long as there is hope; the rest score `floor` at
            most.
        model: of `EVIDENCE`, calibrated.
        reference_sha256: of `reference.npy` beside the card.
        kinds: tells match kinds apart; None if the classifier was trained without labels of them.
        most_rise: logits by which a score may exceed the first; None for any number, as in earlier releases.

    Raises:
        ValueError: a model is of other features than this release computes, or a bound is none.
    """

    floor: float
    most: int
    model: AdditiveModel
    reference_sha256: str
    kinds: MatchKinds | None = None
    most_rise: float | None = None

    def __post_init__(self) -> None:
        for model in (self.model, *(() if self.kinds is None else self.kinds.models)):
            if model.features != EVIDENCE:
                raise ValueError(f"the second look has {len(model.features)} features, expected {len(EVIDENCE)}")
        if not 0 < self.floor < 1 or not 0 < self.most <= _MOST_LOOKS:
            raise ValueError(f"a second look from {self.floor} at {self.most} pairs: 0…1, and 1…{_MOST_LOOKS}")
        if self.most_rise is not None and not self.most_rise >= 0:
            raise ValueError(f"a second look that raises scores by {self.most_rise} logits at most: 0 or more")

    def scores(
        self, first: Scores, rows_a: Ordinals, rows_b: Ordinals, see: Callable[[Ordinals], NDArray[np.float64]]
    ) -> "Looks":
        """Looks at the best pairs of each row of `a`, in rounds.

        Args:
            first: float32 [n], first scores.
            rows_a, rows_b: int64 [n], each pair's rows.
            see: returns the evidence, float64 [m, len(EVIDENCE)], of some pairs, int64 [m], ascending by row of `a`;
                NaN where a picture has no sketch, which keeps the first score.
        """
        scores = np.minimum(first, np.float32(self.floor))
        best = best_pairs(first, rows_a, rows_b, self.floor, self.most)
        rows = rows_a[best]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        hopeful = np.ones(len(rows), np.bool_)
        looked, seen = [best[:0]], [np.empty((0, len(EVIDENCE)))]
        for start in range(0, self.most, ROUND):
            pairs = best[hopeful & (start <= rank) & (rank < start + ROUND)]
            if not len(pairs):
                break
            looked.append(pairs)
            seen.append(see(pairs))
            scores[pairs] = self._judged(first[pairs], seen[-1])
            hopeful = np.isin(rows, rows_a[pairs][scores[pairs] >= np.float32(HOPEFUL)])
        return Looks(scores, np.concatenate(looked), np.concatenate(seen))

    def _judged(self, first: Scores, seen: NDArray[np.float64]) -> Scores:
        known = np.isfinite(seen).all(axis=1)
        found = settled(self.model.probabilities(seen), seen, self.floor, self.most_rise).astype(np.float32)
        return np.where(known, found, first)

    @classmethod
    def parse(cls, content: dict[str, Any]) -> "SecondLook":
        """Reads what `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no second look.
        """
        return cls(
            float(content["floor"]),
            int(content["most"]),
            AdditiveModel.parse(content["model"]),
            str(content["reference_sha256"]),
            None if content.get("kinds") is None else MatchKinds.parse(content["kinds"]),
            None if content.get("most_rise") is None else float(content["most_rise"]),
        )


def sketch_slice(blocks: Iterable[Block]) -> slice:
    """Returns which entries of the pair vector are the sketch; none if it has none."""
    return next((slice(block.start, block.stop) for block in blocks if block.comparison == SKETCH), slice(0, 0))


def best_pairs(first: Scores, rows_a: Ordinals, rows_b: Ordinals, floor: float, most: int) -> Ordinals:
    """Returns the pairs to look at, int64, ascending by row of `a`: the best of each row, the older among equals."""
    promising = np.flatnonzero(first >= np.float32(floor))
    promising = promising[np.lexsort((rows_b[promising], -first[promising], rows_a[promising]))]
    rows = rows_a[promising]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return promising[rank < most]


def structure_of(a: Float16, rows_a: Ordinals, b: Float16, rows_b: Ordinals) -> NDArray[np.float32]:
    """Lays pictures over each other; symmetric, equal to the last bit in any batch.

    Args:
        a, b: float16 [·, sketch.ENTRIES], sketches.
        rows_a, rows_b: int64 [n], each pair's rows there; fastest if equal rows of `a` are adjacent.

    Returns:
        float32 [n, agreement.COUNT], the features; NaN where a picture has no sketch.
    """
    out = np.full((len(rows_a), agreement.COUNT), np.nan, np.float32)
    prepared, row = None, -1
    drawn = have_sketches(a[rows_a, :HEAD]) & have_sketches(b[rows_b, :HEAD])
    for n in np.flatnonzero(drawn):
        if rows_a[n] != row:
            row = rows_a[n]
            prepared = _prepared(a[row])
        other = None if prepared is None else _prepared(b[rows_b[n]])
        if prepared is not None and other is not None:
            first = comes_first(a[row], b[rows_b[n]])
            out[n] = compare(prepared, other) if first else compare(other, prepared)
    return out


def comes_first(a: Float16, b: Float16) -> bool:
    """Whether the alignment of two sketches begins from the first of them, which must not depend on the caller."""
    return a.tobytes() <= b.tobytes()


def _prepared(entries: Float16) -> Prepared | None:
    sketch = decode_sketch(entries)
    return Prepared.of(sketch) if min(sketch.grey.shape) >= agreement.LEAST_SIDE else None


def evidence(
    first: Scores, crowding_a: NDArray[np.float32], crowding_b: NDArray[np.float32], structure: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Returns the features of the model, float64 [n, len(EVIDENCE)].

    Args:
        first: float32 [n], first scores.
        crowding_a, crowding_b: float32 [n, len(CROWDING)], of the two images.
        structure: float32 [n, agreement.COUNT].
    """
    shape = dict(zip(agreement.NAMES, structure.astype(np.float64).T, strict=True))
    flat = (shape["blocks"] == 0).astype(np.float64)
    derived = (
        shape["fine_correlation"] * shape["coarse_correlation"],
        shape["contradicting"] * shape["blocks"],
        shape["replaced"] * shape["blocks"],
        np.log1p(50 * np.clip(shape["contradicting"], 0, 1)),
        np.log1p(50 * np.clip(shape["replaced"], 0, 1)),
        flat,
        flat * shape["colour_most"],
        (1 - flat) * shape["colour_most"],
        (1 - flat) * shape["chroma_most"],
    )
    crowded = np.maximum(crowding_a, crowding_b), np.minimum(crowding_a, crowding_b)
    return np.column_stack([first_logits(first), *crowded, *shape.values(), *derived]).astype(np.float64)


def differ_in_colour_alone(seen: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which pairs are of plain pictures in different colours, bool [n].

    Args:
        seen: float64 [n, len(EVIDENCE)].
    """
    flat, colour = (seen[:, EVIDENCE.index(name)] for name in ("flat", "colour_most"))
    return np.asarray((flat == 1) & (colour > np.log1p(PLAIN_TOLERANCE)))


def settled(
    found: NDArray[np.float64], seen: NDArray[np.float64], floor: float, most_rise: float | None
) -> NDArray[np.float64]:
    """Returns the scores of pairs that were looked at: what the model found, within its limits.

    The evidence says how well two pictures agree, not whether pictures of their kind often agree so well. The first
    score is the better judge of kinds that training never saw, so it limits how far agreement raises a score.

    Args:
        found: float64 [n], probabilities of the model.
        seen: as of `SecondLook.scores`.
        floor: the most that pairs which differ in colour alone score.
        most_rise: as of `SecondLook`.
    """
    if most_rise is not None:
        found = np.minimum(found, sigmoid(seen[:, EVIDENCE.index("first_logit")] + most_rise))
    return np.where(differ_in_colour_alone(seen), np.minimum(found, floor), found)


def tellable(seen: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which pairs have evidence that tells match kinds apart, bool [n]; `seen` as of `SecondLook.scores`."""
    return np.asarray(np.isfinite(seen).all(axis=1) & ~differ_in_colour_alone(seen))


def first_logits(first: Scores) -> NDArray[np.float64]:
    """Returns the logits of first scores, float64 [n], cut off at ±MOST_LOGIT."""
    p = first.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(p) - np.log1p(-p), -MOST_LOGIT, MOST_LOGIT), np.float64)


def split_by_row(rows: Ordinals, parts: int) -> Iterator[slice]:
    """Splits pairs into at most as many parts of similar length, none between two pairs of one row."""
    starts = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
    first = 0
    for part in range(1, parts + 1):
        stop = starts[np.searchsorted(starts, len(rows) * part // parts)]
        if stop > first:
            yield slice(first, stop)
        first = max(first, stop)
