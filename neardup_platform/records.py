"""The vocabulary: what flows from stage to stage, in the order of the data's way."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float32]


class Kind(StrEnum):
    """The two kinds of embedding: one is hashed into terms, both are compared by the pair classifier."""

    LSH = "lsh"
    PAIR = "pair"

    @property
    def other(self) -> "Kind":
        """The kind this one is joined with."""
        return Kind.PAIR if self is Kind.LSH else Kind.LSH


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What embeddings of one kind must be: made by this model version, of this dimension."""

    version: str
    dim: int


@dataclass(frozen=True, slots=True)
class Embedding:
    """One vector of one image, validated: finite, of known kind, of the expected dimension.

    Attributes:
        vector: float32 [dim].
        event_time_ms: Unix milliseconds at which the producer made the embedding.
        source_uri: where the picture is, or empty.
        replaces: whether it takes the place of a stored one of the same image and model version.
    """

    image_id: str
    kind: Kind
    model_version: str
    vector: FloatVector
    event_time_ms: int
    source_uri: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class JoinedImage:
    """An image both of whose embeddings have arrived. `event_time_ms` is the later of the two."""

    lsh: Embedding
    pair: Embedding

    @property
    def image_id(self) -> str:
        """The id shared by both halves."""
        return self.lsh.image_id

    def half(self, kind: Kind) -> Embedding:
        """The embedding of one kind."""
        return self.lsh if kind is Kind.LSH else self.pair

    @property
    def event_time_ms(self) -> int:
        """Unix milliseconds of the later half."""
        return max(self.lsh.event_time_ms, self.pair.event_time_ms)

    @property
    def source_uri(self) -> str:
        """Where the picture is, from whichever half says so."""
        return self.lsh.source_uri or self.pair.source_uri


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image sharing terms with the one being decided.

    Attributes:
        overlap: number of equal terms; 0 for a head that was scored only for the head check.
        score: calibrated probability, 0…1, that the two are near-duplicates.
        head: the cluster the candidate was in when it was compared.
    """

    image_id: str
    overlap: int
    score: float
    head: str


class Cause(StrEnum):
    """What made a decision necessary that the stream did not ask for."""

    OVERRIDE = "override"
    HANDOVER = "handover"
    RE_EMBEDDED = "re-embedded"
    REPLACED = "replaced"
    FORGET = "forget"
    REPROCESS = "reprocess"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Decision:
    """Why an image went where it went; enough to explain it and to decide again without rescoring.

    Attributes:
        sequence: 1, 2, 3… in the order of deciding, over the life of the store.
        head: id of the cluster joined, or the image's own id where it founded one.
        score: pair score of the best match that let it join; 0 for a founder.
        head_score: pair score against the head joined; 1 for a founder.
        candidates: best first; scores below `RECORDED_SCORE_FLOOR` and what exceeds the cap are counted only.
        candidates_found: candidates searched and scored, before floor and cap.
        bridges: heads of other clusters that held a match too; for re-clustering, not acted upon.
        cause: empty for the stream's; `Cause` otherwise.
        override_id: the override that acted; of a hand-over: the command that made it necessary.
        replaced_head: of a hand-over: what the cluster was called before.
    """

    sequence: int
    image_id: str
    head: str
    score: float
    head_score: float
    candidates: tuple[Candidate, ...]
    candidates_found: int
    bridges: tuple[str, ...]
    threshold: float
    head_threshold: float
    terms_version: str
    classifier_version: str
    event_time_ms: int
    decided_ms: int
    cause: str = ""
    override_id: str = ""
    replaced_head: str = ""

    @property
    def founded(self) -> bool:
        """Whether the image became the head of a new cluster."""
        return self.head == self.image_id
