"""What a manifest says about match kinds: how each picture was changed, its template, and its scene.

CSV files → **labels of pictures → true kinds of pairs** → training and evaluation of match kinds. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import KIND_NAMES, NEAR_DUPLICATES, MatchKind

# How a picture was made from the one it is a near-duplicate of, in the column `transformation`. Names that are in
# neither set are not used: a site's own thumbnail, for instance, may be scaled, cropped or padded.
UNCHANGED = frozenset({"same", "original", "recompress", "resize", "webp", "size", "colour shift under 3"})
CHANGED = frozenset(
    {
        *("altered-copy", "crop", "border", "overlay", "screenshot", "rotate", "flip"),
        *("grey", "brightness", "recolour", "rescan", "pad", "caption"),
    }
)
# The template itself, without the text.
BLANK = "blank"
COLUMNS = ("transformation", "template", "scene")
# Codes of pairs that are of no single kind: near-duplicates of which nobody knows whether they are altered; and a text
# on a template and the blank template, of which it is an altered copy as well.
UNKNOWN, EITHER = -1, -2


class KindLabels(NamedTuple):
    """Labels of one picture; each is empty if unknown.

    Attributes:
        change: `same` or `altered-copy`, compared with the original of its group; `BLANK` for a template itself.
        template: pictures of one template and of different groups differ in text.
        scene: pictures of one scene and of different groups are other views of it.
    """

    change: str = ""
    template: str = ""
    scene: str = ""

    @property
    def place(self) -> str:
        """The template or the scene; empty without either."""
        return f"template {self.template}" if self.template else self.scene and f"scene {self.scene}"


NO_LABELS = KindLabels()
UNCHANGED_LABELS = KindLabels(MatchKind.SAME)


def kind_labels(line: Mapping[str, str | None]) -> KindLabels:
    """Returns the labels in one line of a manifest; its columns `COLUMNS` are optional."""
    transformation, template, scene = ((line.get(name) or "").strip() for name in COLUMNS)
    if transformation == BLANK:
        return KindLabels(BLANK, template, scene)
    change = MatchKind.SAME if transformation in UNCHANGED else ""
    return KindLabels(MatchKind.ALTERED_COPY if transformation in CHANGED else change, template, scene)


def true_kinds(
    labels: Sequence[KindLabels], a: NDArray[np.int64], b: NDArray[np.int64], same_group: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Returns the true kinds of pairs of rows, int8 [n]: positions in `KIND_NAMES`, 0 for none; `UNKNOWN`, `EITHER`."""
    pairs = zip(a.tolist(), b.tolist(), same_group.tolist(), strict=True)
    return np.array([_true_kind(labels[i], labels[j], same) for i, j, same in pairs], np.int8)


def _true_kind(one: KindLabels, other: KindLabels, same_group: bool) -> int:
    if same_group:
        changes = {one.change, other.change}
        return max(map(KIND_NAMES.index, changes)) if changes <= set(NEAR_DUPLICATES) else UNKNOWN
    if one.template and one.template == other.template:
        return EITHER if BLANK in (one.change, other.change) else KIND_NAMES.index(MatchKind.SAME_TEMPLATE)
    return KIND_NAMES.index(MatchKind.SAME_SCENE) if one.scene and one.scene == other.scene else 0
