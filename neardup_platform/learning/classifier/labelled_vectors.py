"""What training needs of pictures: vectors, groups, and labels of match kinds."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.embedder.kind_labels import KindLabels


class LabelledVectors(Protocol):
    """Vectors of pictures with their groups; the group is empty if a picture resembles no other."""

    @property
    def groups(self) -> Sequence[str]:
        """Group names [n]."""

    @property
    def lsh(self) -> NDArray[np.float16]:
        """Vectors float16 [n, lsh_dim], as the worker stores them."""

    @property
    def pair(self) -> NDArray[np.float16]:
        """Vectors float16 [n, pair_dim]."""


class LabelledKinds(LabelledVectors, Protocol):
    """Vectors of pictures with their groups and labels of match kinds."""

    @property
    def labels(self) -> Sequence[KindLabels]:
        """Labels [n]."""


class KindLabelling(NamedTuple):
    """What is known about match kinds.

    Attributes:
        labels: of the labelled pictures.
        more: pictures that teach match kinds only.
    """

    labels: Sequence[KindLabels]
    more: LabelledKinds | None = None
