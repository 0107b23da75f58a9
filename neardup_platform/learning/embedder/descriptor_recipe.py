"""The parameters of training the built-in descriptor, apart from the pictures and the altered views."""

from dataclasses import dataclass

from neardup_platform.learning.embedder.synthetic_pictures import KINDS


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the shipped descriptor was trained (`docs/adr/0034-the-descriptor-is-trained-as-a-whole.md`).

    Attributes:
        seconds: time for the steps, which the learning rate is planned for; preparing the pictures is extra.
        batch: number of pictures in a batch, two views each.
        side_px: side of the square views, a multiple of 32.
        photograph_share: share of photographs in a batch; the others are synthetic look-alikes.
        templates: number of synthetic templates of each kind.
        contents: number of synthetic pictures with one template.
        hard_share: share of batches in which pictures lie beside their nearest neighbours.
        neighbours: number of neighbours drawn for each picture of such a batch, at most 16.
        tiny_share: share of pictures shown at the size of an icon.
        learning_rate: highest rate of AdamW, reached after `warm_up` steps; it then falls along a cosine.
        warm_up: number of steps of linear warm-up.
        weight_decay: of convolution kernels.
        temperature: of InfoNCE.
        entropy_weight: of the entropy term.
        average_decay: of the moving average of the weights, which is what is exported.
        seed: of every random choice.
    """

    seconds: float = 350.0
    batch: int = 512
    side_px: int = 192
    photograph_share: float = 0.64
    templates: int = 46
    contents: int = 16
    hard_share: float = 0.7
    neighbours: int = 5
    tiny_share: float = 0.18
    learning_rate: float = 1e-3
    warm_up: int = 100
    weight_decay: float = 0.02
    temperature: float = 0.05
    entropy_weight: float = 10.0
    average_decay: float = 0.998
    seed: int = 0

    @property
    def photographs(self) -> int:
        """Number of photographs in a batch."""
        return int(self.batch * self.photograph_share)

    @property
    def look_alikes(self) -> int:
        """Number of synthetic pictures, of all kinds."""
        return len(KINDS) * self.templates * self.contents
