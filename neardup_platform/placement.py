"""Makes a decided image a member of its cluster, in the corpus."""

from neardup_platform.clusters.representatives import is_representative
from neardup_platform.corpus import Corpus
from neardup_platform.decide import Ruling
from neardup_platform.matching import Scored


def place(corpus: Corpus, ordinal: int, ruling: Ruling, scored: Scored, row: int, max_representatives: int) -> None:
    """Adds an image to the cluster of its ruling, searched from now on if it represents the cluster.

    Args:
        corpus: holds the image, which has no head yet.
        ordinal: of the image.
        ruling: where it belongs.
        scored: candidates of its batch.
        row: of the image in them.
        max_representatives: members of a cluster that the index holds.
    """
    head = ordinal if ruling.head is None else ruling.head
    founds, representatives = head == ordinal, corpus.representatives_of(head)
    asked = not founds and representatives < max_representatives
    nearest = _nearest_overlap(corpus, scored, row, head) if asked else 0
    represents = is_representative(
        founds,
        representatives,
        max_representatives,
        nearest,
        corpus.space.tables,
    )
    corpus.set_head(ordinal, head, represents=represents)


def _nearest_overlap(corpus: Corpus, scored: Scored, row: int, head: int) -> int:
    """Returns the most terms shared with a candidate that represents this cluster."""
    ordinals = scored.ordinals[row][scored.ordinals[row] >= 0]
    inside = (corpus.heads_of(ordinals) == head) & ~corpus.retired(ordinals)
    return int(scored.equal_terms.of(row, ordinals[inside]).max(initial=0))
