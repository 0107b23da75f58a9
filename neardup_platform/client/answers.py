"""What the client returns. Times are Unix milliseconds, scores are calibrated probabilities 0…1.

The fields are those of the API's answers, in the same order; fields that a newer server adds are ignored. It is one
file because it is one vocabulary, to be read beside the API reference.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Label:
    """That an image is in a bank: a policy and an action for its whole cluster.

    Attributes:
        label_id: id of the command that added it.
        image_id: the image that was labelled.
        action: such as `block` or `review`.
        pdq: the hash of the bank that the hash of the image matched; empty where an operator labelled the image.
        distance: bits in which the two hashes differ.
    """

    label_id: str
    bank: str
    image_id: str
    policy: str
    action: str
    pdq: str = ""
    distance: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """Which cluster an image is in.

    Attributes:
        score: pair score of the match that let the image join; 0 for the founder.
        picture: path of the picture on the server, where one can be shown.
        held_apart: whether the image was held apart from a guarded cluster; the explanation says why.
        undistinctive: whether it is plain or resembles much else, so that it needs a higher score to match.
        kind: of the match that let the image join; see `ComparedImage`. Empty for a founder.
        labels: of its cluster now, at most 100; of an earlier time, those of its decision then, at most 16.
    """

    image_id: str
    head: str
    score: float
    decision_id: str
    sequence: int
    event_time_ms: int
    decided_ms: int
    source_uri: str
    picture: str | None
    held_apart: bool = False
    undistinctive: bool = False
    kind: str = ""
    labels: list[Label] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Heads:
    """Clusters of many images.

    Attributes:
        heads: image id → head, for the images that are known.
        unknown: ids that have not been decided, or were forgotten.
    """

    heads: dict[str, str]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster; its id is the id of its head.

    Attributes:
        representatives: members that searches compare with, oldest first, including the head.
        redirected_from: the head that was asked for, if the cluster has another head now.
        labels: of images in it, at most 100.
        quarantines: overrides by which no new image joins it by its matches, at most 100.
    """

    head: str
    size: int
    created_ms: int
    updated_ms: int
    representatives: list[str]
    redirected_from: str | None
    labels: list[Label] = field(default_factory=list)
    quarantines: list["Override"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a cluster.

    Attributes:
        kind: of the match that let the image join; see `ComparedImage`. Empty for a founder.
    """

    image_id: str
    score: float
    decided_ms: int
    picture: str | None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Members:
    """A page of members, oldest first.

    Attributes:
        next_cursor: pass it as `cursor` to get the next page; None on the last page.
        redirected_from: the head that was asked for, if the cluster has another head now.
    """

    head: str
    size: int
    members: list[Member]
    next_cursor: str | None
    redirected_from: str | None


@dataclass(frozen=True, slots=True)
class ListedCluster:
    """A cluster of a list.

    Attributes:
        members: the first ones, oldest first, as many as were asked for.
    """

    head: str
    size: int
    created_ms: int
    updated_ms: int
    members: list[Member]


@dataclass(frozen=True, slots=True)
class Clusters:
    """A page of clusters of two or more images.

    Attributes:
        next_cursor: pass it as `cursor` to get the next page; None on the last page.
    """

    clusters: list[ListedCluster]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """An image compared with the one asked for.

    Attributes:
        overlap: number of equal terms; 0 if the image was scored only as the head of a cluster.
        head: its cluster when the two were compared.
        kind: `same`, `altered-copy`, `same-template` or `same-scene`; empty where none is claimed.
    """

    image_id: str
    overlap: int
    score: float
    head: str
    match: bool
    picture: str | None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class HeldApart:
    """The cluster that an image did not join: a large one, too few of whose members agree, or one in quarantine.

    Attributes:
        reason: `chain-suspected` or `quarantined`.
        head: of the cluster; the best one, if there were several.
        agreed: members, of those compared, that score at least the head threshold with the image.
        compared: members that the image was compared with, the head included.
        size: members of the cluster at that time.
    """

    reason: str
    head: str
    agreed: int
    compared: int
    size: int


Point = tuple[float, float]
# Upper left, upper right, lower right, lower left corner of what is outlined, wherever they come to lie.
Outline = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Difference:
    """A rectangle of one picture in which the other shows something else.

    Attributes:
        in_a, in_b: its outline in each picture.
        agreement: correlation of brightness there, −1…1; below 0.5.
    """

    in_a: Outline
    in_b: Outline
    agreement: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """How two pictures, a and b, lie over each other; points are fractions of width and height from the upper left.

    Attributes:
        relation: `equal extent`, `a inside b`, `b inside a`, `overlap` or `none`: then the rest means nothing.
        agreement: correlation of local contrast where they overlap, 0…1.
        a_covered, b_covered: share of each picture that the other shows, 0…1.
        a_in_b, b_in_a: outline of each picture in the other; points beyond 0…1 lie outside of it.
        mirrored: whether a is mirrored, left to right, before it is turned.
        turned: degrees clockwise that lay a over b, in quarter turns: 0, 90, 180 or 270.
        rotation: degrees clockwise beyond them, −45…45.
        scale: side of a, laid over b, as a multiple of the side of b.
        differing: share of the compared area that differs, 0…1.
        differences: rectangles that differ, largest first, at most 64.
        a_aspect, b_aspect: width over height of each picture, to about 6%; 1/8…8.
    """

    relation: str
    agreement: float
    a_covered: float
    b_covered: float
    a_in_b: Outline
    b_in_a: Outline
    mirrored: bool
    turned: int
    rotation: float
    scale: float
    differing: float
    differences: list[Difference]
    a_aspect: float
    b_aspect: float


@dataclass(frozen=True, slots=True)
class Structure:
    """Where two pictures agree, or why that cannot be told.

    Attributes:
        state: `available` or `not available`.
        reason: why it is not available; empty if it is.
        overlap: None if it is not available.
    """

    state: str
    reason: str
    overlap: Overlap | None


@dataclass(frozen=True, slots=True)
class ExplainedPair:
    """Where an image (a) agrees with one that its decision rests on (b).

    Attributes:
        image_id: of the other image.
        match: whether it is the match that let the image join.
        head: whether it is the head of the cluster joined.
    """

    image_id: str
    match: bool
    head: bool
    structure: Structure


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and everything it is based on.

    Attributes:
        bridges: heads of other clusters that contain a match; the image did not join them.
        latency_ms: time from the event to the decision; None if a command made the decision later.
        cause: empty for a decision of the stream; otherwise what made the decision necessary.
        threshold, head_threshold: those of this image.
        guard: the guarded cluster that the image was held apart from; None if there is none.
        undistinctive: as in `Image`.
        corpus_images: images before it, including those forgotten or embedded again; thresholds rise with it.
        structures: where the image agrees with the match that let it join and with the head, computed now; empty for a
            founder and in a history.
        kind: of the match that let the image join; see `ComparedImage`. Empty for a founder.
        labels: of the cluster when the image was put there, at most 16.
        cluster_labels: of its cluster now, at most 100; empty in a history.
        quarantined: whether its cluster is in quarantine now, so that no new image joins; False in a history.
    """

    decision_id: str
    sequence: int
    image_id: str
    head: str
    founded: bool
    summary: str
    score: float
    head_score: float
    candidates: list[ComparedImage]
    candidates_found: int
    bridges: list[str]
    threshold: float
    head_threshold: float
    terms_version: str
    classifier_version: str
    event_time_ms: int
    decided_ms: int
    latency_ms: int | None
    cause: str
    override_id: str
    replaced_head: str
    guard: HeldApart | None = None
    undistinctive: bool = False
    corpus_images: int = 0
    structures: list[ExplainedPair] = field(default_factory=list)
    kind: str = ""
    labels: list[Label] = field(default_factory=list)
    cluster_labels: list[Label] = field(default_factory=list)
    quarantined: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """Every decision made about an image, oldest first."""

    image_id: str
    decisions: list[Explanation]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A stored image that matches an example; `kind` as of `ComparedImage`."""

    image_id: str
    head: str
    score: float
    overlap: int
    picture: str | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What is known about an example. A search changes nothing.

    Attributes:
        seen_before: whether any stored image matches.
        cluster: the cluster that the example would join; None if it would found one.
        score: of the best match in that cluster; 0 without one.
        head_score: against the head of that cluster; 0 without one.
        matches: best first.
        guard: the cluster that the example would be held apart from; None if there is none.
        undistinctive: as in `Image`.
        override_id: the quarantine without which it would go elsewhere; empty if none acts.
        labels: of the cluster that it would join, at most 100.
    """

    seen_before: bool
    cluster: str | None
    score: float
    head_score: float
    matches: list[FoundImage]
    candidates_found: int
    threshold: float
    head_threshold: float
    images_searched: int
    stage_ms: dict[str, float]
    guard: HeldApart | None = None
    undistinctive: bool = False
    override_id: str = ""
    labels: list[Label] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PairTerm:
    """What a piece of evidence adds to the logit of a score."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class PairImage:
    """One side of a compared pair; no id for a picture or vectors."""

    image_id: str | None
    picture: str | None


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """Two images, a and b, compared. A comparison changes nothing.

    Attributes:
        first_score: of the images as wholes, before the second look.
        match: whether the score reaches the threshold.
        head_match: whether it reaches the threshold against the head of a cluster.
        terms: of the second look, largest first; empty where the first score stands.
        structure: where the pictures agree.
        undistinctive: of a and b, as in `Image`.
        kind: as in `ComparedImage`.
    """

    score: float
    first_score: float
    threshold: float
    head_threshold: float
    match: bool
    head_match: bool
    classifier_version: str
    terms: list[PairTerm]
    structure: Structure
    undistinctive: list[bool]
    kind: str
    a: PairImage
    b: PairImage


OverrideAction = Literal["move", "alone", "forbid", "merge", "split", "quarantine"]


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's correction.

    Attributes:
        image_id: merge: the head whose cluster was dissolved; split: the head of the images that left; quarantine: an
            image of the cluster.
        other_id: move: the image it belongs with; forbid: the image it is kept apart from; merge: the head whose
            cluster it went into; split: an image that stayed.
        image_ids: split: the other images that left.
        sequence: of the last decision made before the override.
        bank: quarantine: the negative bank whose label this is; empty for an override by itself.
    """

    override_id: str
    action: OverrideAction
    image_id: str
    other_id: str
    reason: str
    issued_by: str
    at_ms: int
    sequence: int
    image_ids: list[str] = field(default_factory=list)
    bank: str = ""


@dataclass(frozen=True, slots=True)
class Overrides:
    """A page of the active overrides, oldest first; `total` counts all pages."""

    total: int
    overrides: list[Override]


@dataclass(frozen=True, slots=True)
class Correction:
    """What the worker did for an override, or for its removal.

    Attributes:
        head: cluster of the image after the correction; empty for a removal, which moves nothing.
        decisions: number of decisions that it made.
        moved: number of images in another cluster than before.
        clusters_before, clusters: number of clusters before and after it.
    """

    command_id: str
    override_id: str
    action: str
    image_id: str
    head: str = ""
    decisions: int = 0
    moved: int = 0
    clusters_before: int = 0
    clusters: int = 0


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """A label of a bank, with who added it, when and why; see `Label`.

    Attributes:
        sequence: of the last decision made before it.
    """

    label_id: str
    bank: str
    image_id: str
    policy: str
    action: str
    reason: str
    issued_by: str
    at_ms: int
    sequence: int
    pdq: str = ""
    distance: int = 0


@dataclass(frozen=True, slots=True)
class StoredHash:
    """A PDQ hash of a bank, with who added it, when and why.

    Attributes:
        label_id: id of the command that added it.
        pdq: 64 hexadecimal digits.
        sequence: of the last decision made before it.
    """

    label_id: str
    bank: str
    pdq: str
    policy: str
    action: str
    reason: str
    issued_by: str
    at_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank that has labels or PDQ hashes, and how many."""

    bank: str
    labels: int
    hashes: int = 0


@dataclass(frozen=True, slots=True)
class Banks:
    """Every bank that has labels or hashes, by name."""

    banks: list[Bank]


@dataclass(frozen=True, slots=True)
class BankPage:
    """A page of the labels of a bank, in order of image id.

    Attributes:
        next_cursor: pass it as `cursor` to get the next page; None on the last page.
    """

    bank: str
    labels: list[StoredLabel]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class HashPage:
    """A page of the PDQ hashes of a bank, in order of hash.

    Attributes:
        next_cursor: pass it as `cursor` to get the next page; None on the last page.
    """

    bank: str
    hashes: list[StoredHash]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class HashMatch:
    """A stored image that a PDQ hash matches.

    Attributes:
        head: of the cluster that the image is in.
        distance: bits in which its hash differs.
    """

    image_id: str
    head: str
    pdq: str
    distance: int


@dataclass(frozen=True, slots=True)
class HashesLabelled:
    """What new PDQ hashes match: the images that are stored now. Those that come later are matched when decided.

    Attributes:
        hashes: given.
        added: of them, those that the bank did not have.
        matched: stored images that they match.
        labelled: of them, those that were put into the bank; the others are in clusters that have a like label.
        not_matchable: stored images without a PDQ hash, or with one of a quality below 50.
        matches: the nearest 100; `Client.bank` has all that were labelled.
    """

    command_id: str
    label_id: str
    bank: str
    policy: str
    action: str
    hashes: int
    added: int
    matched: int
    labelled: int
    not_matchable: int
    matches: list[HashMatch]


@dataclass(frozen=True, slots=True)
class HashesRemoved:
    """What was taken out of a bank: PDQ hashes, and labels of images that they had matched."""

    command_id: str
    bank: str
    removed: int
    labels_removed: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a new label applies to: the images in the cluster now. Those that join later carry it in their decision.

    Attributes:
        head: of the cluster that the image is in.
        size: members of that cluster.
        members: the first 100 of them, oldest first; `Client.members` has all.
    """

    command_id: str
    label_id: str
    bank: str
    image_id: str
    policy: str
    action: str
    head: str
    size: int
    members: list[str]


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """What was taken out of a bank."""

    command_id: str
    label_id: str
    bank: str
    image_id: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the worker removed.

    Attributes:
        forgotten: `image`, or `halves` for an image that still waited for its second embedding.
        new_head: head of the cluster that the image headed; empty if it headed none.
    """

    command_id: str
    forgotten: str
    new_head: str = ""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The stream worker's last heartbeat."""

    pid: int
    phase: str
    alive: bool
    started_ms: int
    heartbeat_age_s: float
    figures: dict[str, float]
    classifier_version: str
    progress: str


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """What embeddings of one kind must be; `newer` lists other accepted versions, oldest first."""

    version: str
    dim: int
    newer: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A time in which decisions were stored and not published.

    Attributes:
        by: who began it; empty: the settings of a new store.
        withheld: decisions made in it.
        until_ms: when a cut-over ended it; 0 while it lasts.
        until_sequence: of its last decision: later ones are published; 0 while it lasts.
        reason: why it was ended, as far as one was given.
    """

    by: str
    since_ms: int
    withheld: int
    until_ms: int
    ended_by: str
    until_sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """Totals, and how fresh they are.

    Attributes:
        models: required models by kind, `lsh` and `pair`.
        positions: `topic[partition]` → next offset to be read, as committed.
        paused_by: who paused the stream; empty while it runs.
        in_shadow: whether decisions are stored and not published, beside another pipeline.
        shadows: the last ten times of it, oldest first.
    """

    ready: bool
    images: int
    clusters: int
    sequence: int
    state_digest: str
    terms_version: str
    classifier_version: str
    models: dict[str, ActiveModel]
    positions: dict[str, int]
    paused_by: str
    paused_ms: int
    counters: dict[str, int]
    refresh_age_ms: int
    worker: WorkerStatus | None
    in_shadow: bool = False
    shadows: list[Shadow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the active classifier; `forced` if its metrics were worse."""

    version: str
    replaced: str
    at_ms: int
    issued_by: str
    command_id: str
    sequence: int
    forced: bool


@dataclass(frozen=True, slots=True)
class Promotions:
    """Every change of the active classifier, newest first."""

    promotions: list[Promotion]
