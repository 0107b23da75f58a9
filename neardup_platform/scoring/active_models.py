"""Which embeddings are accepted: model versions and dimensions of both kinds, oldest version first.

A classifier is promoted only if it was trained on the same embeddings as the one before. So this holds for the life of
a store, and follows from the settings that the worker, the API and the command line share.
"""

from dataclasses import dataclass

from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """What embeddings of one kind must be.

    Attributes:
        version: what the classifier was trained on.
        newer: versions that are comparable with it, oldest first; a later one of a known image has it decided again.
    """

    version: str
    dim: int
    newer: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """Version and dimension."""
        return ModelSpec(self.version, self.dim)


def active_models(settings: Settings) -> dict[Kind, ActiveModel]:
    """By kind.

    Raises:
        BadArtefact: the classifier that the settings name cannot be read.
    """
    expects = read_card(settings.scoring.model or SHIPPED_FOLDER).expects
    newer = {Kind.LSH: settings.join.newer_lsh, Kind.PAIR: settings.join.newer_pair}
    return {kind: ActiveModel(spec.version, spec.dim, newer[kind]) for kind, spec in expects.items()}
