"""An hour of the other pipeline compared with our clusters. Pure.

Their heads, our heads → **the images and those that they were put with** → agreement, disagreements, other heads

The images of the hour are compared. Two kinds of earlier images show which clusters they joined:

- the other's head of an image, if it is known here: the other has both in one cluster;
- our head of an image, if the other founded its cluster within the hour: a cluster founded now has no earlier image, so
  the other has the two apart. Where the image joined an earlier cluster of the other, that one's head is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neardup_platform.handover.agreement import Agreement, labels_of, measure
from neardup_platform.handover.disagreements import Disagreement, rank


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it.

    Attributes:
        disagreements: the largest.
        other_heads: images whose head here has another id, in order.
    """

    agreement: Agreement
    disagreements: tuple[Disagreement, ...]
    other_heads: tuple[str, ...]


def compare(their_heads: Mapping[str, str], our_heads: Mapping[str, str]) -> Comparison:
    """Compare the images that both know.

    Args:
        their_heads: by image of the hour.
        our_heads: by image, as far as they are decided here: those of the hour, and heads in `their_heads`.
    """
    compared = [image_id for image_id in their_heads if image_id in our_heads]
    earlier = dict.fromkeys(
        head for head in map(their_heads.__getitem__, compared) if head in our_heads and head not in their_heads
    )
    known = {*compared, *earlier}
    joined = dict.fromkeys(
        our_heads[image_id]
        for image_id in compared
        if their_heads[image_id] in their_heads and our_heads[image_id] not in known
    )
    ids = [*compared, *earlier, *joined]
    # No head is a tuple: an earlier image that ours alone has with others is apart from all of theirs.
    theirs = [*map(their_heads.__getitem__, compared), *earlier, *((head, "apart") for head in joined)]
    ours = [*(our_heads[image_id] for image_id in (*compared, *earlier)), *joined]
    is_compared = np.arange(len(ids)) < len(compared)
    labels = labels_of(theirs), labels_of(ours)
    named = [head if isinstance(head, str) else head[0] for head in theirs]
    return Comparison(
        measure(*labels, is_compared),
        tuple(rank(ids, named, ours, *labels, is_compared)),
        tuple(image_id for image_id in compared if our_heads[image_id] != their_heads[image_id]),
    )
