"""The vocabulary: the records that flow from stage to stage, in the order of the data flow."""

from dataclasses import dataclass, field
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
        """The kind that this one is joined with."""
        return Kind.PAIR if self is Kind.LSH else Kind.LSH


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The requirements for embeddings of one kind.

    Attributes:
        version: of the model.
        dim: entries of a vector.
        compared: how many of the first entries the first score reads; None for all.
    """

    version: str
    dim: int
    compared: int | None = field(default=None, compare=False)

    @property
    def first_score_entries(self) -> int:
        """How many of the first entries the first score reads."""
        return self.dim if self.compared is None else self.compared


# A PDQ hash of lower quality says too little of its picture to be matched, as the reference implementation advises.
LEAST_PDQ_QUALITY = 50


@dataclass(frozen=True, slots=True)
class PdqHash:
    """The PDQ hash of a picture: 256 bits that stay nearly the same when it is scaled or saved again.

    https://github.com/facebook/ThreatExchange/tree/main/pdq

    Attributes:
        bits: 32 bytes, the first bit highest, so that their hexadecimal form is the usual one.
        quality: 0…100; low for pictures with few details.
    """

    bits: bytes
    quality: int

    @property
    def reliable(self) -> bool:
        """Whether it may be matched."""
        return self.quality >= LEAST_PDQ_QUALITY


@dataclass(frozen=True, slots=True)
class Embedding:
    """One vector of one image, validated: finite, of a known kind, of the required dimension.

    Attributes:
        vector: float32 [dim].
        event_time_ms: Unix milliseconds at which the producer created the embedding.
        source_uri: where the picture is, or empty.
        replaces: whether it replaces a stored embedding of the same image and model version.
        pdq: of the picture; None where the producer sends none.
    """

    image_id: str
    kind: Kind
    model_version: str
    vector: FloatVector
    event_time_ms: int
    source_uri: str = ""
    replaces: bool = False
    pdq: PdqHash | None = None


@dataclass(frozen=True, slots=True)
class JoinedImage:
    """An image with both embeddings. `event_time_ms` is the later of the two."""

    lsh: Embedding
    pair: Embedding

    @property
    def image_id(self) -> str:
        """The id that both embeddings share."""
        return self.lsh.image_id

    def embedding(self, kind: Kind) -> Embedding:
        """The embedding of one kind."""
        return self.lsh if kind is Kind.LSH else self.pair

    @property
    def event_time_ms(self) -> int:
        """Unix milliseconds of the later embedding."""
        return max(self.lsh.event_time_ms, self.pair.event_time_ms)

    @property
    def source_uri(self) -> str:
        """Where the picture is, from the first embedding that names it."""
        return self.lsh.source_uri or self.pair.source_uri

    @property
    def pdq(self) -> PdqHash | None:
        """The hash of the picture, from the first embedding that has it."""
        return self.lsh.pdq or self.pair.pdq


class MatchKind(StrEnum):
    """How two images resemble each other, the closest first; the first two are near-duplicates."""

    SAME = "same"
    ALTERED_COPY = "altered-copy"
    SAME_TEMPLATE = "same-template"
    SAME_SCENE = "same-scene"


NEAR_DUPLICATES: tuple[str, ...] = (MatchKind.SAME, MatchKind.ALTERED_COPY)
# Scores carry kinds as positions in this; the first is none.
KIND_NAMES: tuple[str, ...] = ("", *map(str, MatchKind))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that shares terms with the one to decide.

    Attributes:
        overlap: number of equal terms; 0 for a head that was scored only for the head check.
        score: calibrated probability, 0…1, that the two are of a kind that clusters.
        head: the cluster of the candidate when it was compared.
        kind: a `MatchKind`; empty where none is claimed.
    """

    image_id: str
    overlap: int
    score: float
    head: str
    kind: str = ""


class Cause(StrEnum):
    """The cause of a decision that does not come from the stream."""

    OVERRIDE = "override"
    HANDOVER = "handover"
    RE_EMBEDDED = "re-embedded"
    REPLACED = "replaced"
    FORGET = "forget"
    REPROCESS = "reprocess"
    UNDO = "undo"
    REPAIR = "repair"
    ROLLBACK = "rollback"
    GIVEN = "given"
    CUT_OVER = "cut-over"


@dataclass(frozen=True, slots=True)
class Label:
    """That an image is in a bank: a policy and an action for its whole cluster.

    Attributes:
        label_id: id of the command that added it.
        image_id: the image that was labelled; empty where its hash matched and the label is not kept, because there
            are as many as can be.
        action: such as `block` or `review`.
        pdq: the hash of the bank that the hash of the image matched, 64 hexadecimal digits; empty where an operator
            labelled the image.
        distance: bits in which the two hashes differ.
    """

    label_id: str
    bank: str
    image_id: str
    policy: str
    action: str
    pdq: str = ""
    distance: int = 0


CHAIN_SUSPECTED = "chain-suspected"
QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class HeldApart:
    """The cluster that an image did not join: a large one, too few of whose members agree, or one in quarantine.

    Attributes:
        reason: `CHAIN_SUSPECTED` or `QUARANTINED`.
        head: id of the cluster; the best one, if there were several.
        agreed: members, of those compared, that score at least the head threshold with the image.
        compared: members that the image was compared with: those among its candidates, and the head.
        size: members of the cluster at that time.
    """

    reason: str
    head: str
    agreed: int
    compared: int
    size: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Why an image is in its cluster; enough to explain it and to decide again without rescoring.

    Attributes:
        sequence: 1, 2, 3… in decision order, over the lifetime of the store.
        head: id of the cluster joined, or the image's own id if it founded one.
        score: pair score of the best match that let it join; 0 for a founder.
        head_score: pair score against the head joined, the best one of a merged cluster; 1 for a founder.
        candidates: best first; those with scores below `RECORDED_SCORE_FLOOR` and those beyond the cap are only
            counted.
        candidates_found: number of candidates searched and scored, before floor and cap.
        bridges: heads of other clusters that contained a match too; for re-clustering, the stream ignores them.
        cause: empty for decisions of the stream; otherwise a `Cause`.
        override_id: the override that applied; for a handover, the command that required it.
        replaced_head: for a handover, the previous id of the cluster, which continues alone or in one that it was
            merged into.
        threshold, head_threshold: those of this image, by its distinctiveness and `corpus_images`.
        guard: the cluster that the image was held apart from; None if there is none.
        undistinctive: whether it is plain or resembles much, so that it needs better evidence to match.
        corpus_images: images before it, including those forgotten or embedded again; 0 if not recorded.
        labels: of the cluster when the image was put there, at most 16.
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
    guard: HeldApart | None = None
    undistinctive: bool = False
    corpus_images: int = 0
    labels: tuple[Label, ...] = ()

    @property
    def founded(self) -> bool:
        """Whether the image became the head of a new cluster."""
        return self.head == self.image_id

    @property
    def kind(self) -> str:
        """Kind of the match that let the image join, a `MatchKind`; empty for a founder, and where none is claimed."""
        matches = (c.kind for c in self.candidates if c.head == self.head and c.score == self.score)
        return "" if self.founded else next(matches, "")
