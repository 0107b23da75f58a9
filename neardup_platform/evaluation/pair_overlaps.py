"""Where the pictures of evaluated pairs agree.

Worst pairs → **overlaps** → outlines in the report.
"""

from collections.abc import Sequence

from neardup_platform.evaluation.outcome import Evaluation
from neardup_platform.evaluation.worst_pairs import EvaluatedPair
from neardup_platform.pair_comparison import structure_of_pair
from neardup_platform.scoring.features import Block
from neardup_platform.scoring.second_look import sketch_slice
from neardup_platform.structure.overlap import Overlap, Relation


def overlaps_of(
    evaluation: Evaluation, pairs: Sequence[EvaluatedPair], blocks: Sequence[Block]
) -> list[Overlap | None]:
    """Returns where the earlier picture of each pair (a) and the later one (b) agree; None where they do not.

    Args:
        evaluation: has the vectors.
        pairs: of its rows.
        blocks: of the `pair` embedder.
    """
    sketch = sketch_slice(blocks)
    return [_overlap(evaluation, pair, sketch) for pair in pairs]


def _overlap(evaluation: Evaluation, pair: EvaluatedPair, sketch: slice) -> Overlap | None:
    vectors = evaluation.embedded.vectors([pair.earlier, pair.later])
    overlap = structure_of_pair(vectors.pair[0], vectors.pair[1], sketch).overlap
    return None if overlap is None or overlap.relation is Relation.NONE else overlap
