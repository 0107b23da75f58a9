"""Which embeddings are accepted: model versions and dimensions of both kinds, oldest version first.

A classifier is promoted only if it was trained on the same embeddings as the previous one. So this holds for the life
of a store, and follows from the settings that the worker, the API and the command line share.
"""

from dataclasses import dataclass

from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """The embeddings of one kind that are accepted.

    Attributes:
        version: of the model that the classifier was trained on.
        newer: model versions whose embeddings are comparable with it, oldest first; a known image with a newer
            embedding is decided again.
    """

    version: str
    dim: int
    newer: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """The version and dimension."""
        return ModelSpec(self.version, self.dim)


def active_models(settings: Settings) -> dict[Kind, ActiveModel]:
    """Returns the accepted embeddings by kind.

    Raises:
        BadArtefact: the classifier that the settings name cannot be read.
    """
    required = read_card(settings.scoring.model or SHIPPED_FOLDER).required_models
    newer = {Kind.LSH: settings.join.newer_lsh, Kind.PAIR: settings.join.newer_pair}
    return {kind: ActiveModel(spec.version, spec.dim, newer[kind]) for kind, spec in required.items()}
