"""What the worker and the process that builds a load tell each other. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neardup_platform.bootstrap.data_set import DataSet
from neardup_platform.records import Kind, ModelSpec


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to load.

    Attributes:
        data_set: name and files of one version; a file of another etag is refused.
        command_id: of the command; the decisions name it.
        folder: of this load, on the disk of the store; a repeated order finds there what the previous one has built.
        checkpoint: of the store, which the images are compared with; not read by a repeated order.
        models: the models that embeddings must be of.
        skip_bad: whether bad rows are skipped; otherwise one refuses the load.
    """

    data_set: DataSet
    command_id: str
    folder: Path
    checkpoint: Path
    models: Mapping[Kind, ModelSpec]
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class Scanned:
    """How the rows of a data set divide.

    Attributes:
        rows: of the data set; the sum of `bulk`, `rest`, `other` and the counts of `bad`.
        bulk: images of whole clusters that the store does not know, which are loaded at once: the numbers to reserve.
        rest: rows of clusters that touch what the store knows.
        other: all other good rows: without a head, repeated, with the second embedding of an image.
        bad: rows by reason, a code of `data_set_rows.py`.
        examples: the first of the bad rows, each as text.
        checkpoint_ordinals: see `BulkFiles`.
    """

    rows: int
    bulk: int
    rest: int
    other: int
    bad: Mapping[str, int]
    examples: tuple[str, ...]
    checkpoint_ordinals: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """The numbers of the bulk, as the store keeps them; the same for a repeated order.

    Attributes:
        first_ordinal: of `Scanned.bulk` ordinals, which nothing else uses.
        first_sequence: of as many sequence numbers.
        decided_ms: the clock, Unix milliseconds: when the images count as decided.
    """

    first_ordinal: int
    first_sequence: int
    decided_ms: int
