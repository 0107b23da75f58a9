"""The card of a classifier, `card.json` beside its network: identity, required models, thresholds, measured quality.

Training writes it; `PairClassifier` reads and verifies it. It is readable by people as well.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neardup_platform.errors import BadArtefact
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.features import Block, compared_entries, feature_names
from neardup_platform.scoring.second_look import SecondLook
from neardup_platform.scoring.threshold_table import ThresholdTable

CARD_FILE = "card.json"
NETWORK_FILE = "model.keras"
# Images that the second look compares with; absent where the classifier has none.
REFERENCE_FILE = "reference.npy"
# Fingerprints of the training pictures, if training recorded them; scoring does not need them.
PICTURES_FILE = "training_pictures.bin"
# The labelled pairs that the second look was fitted to, likewise.
EVIDENCE_FILE = "training_evidence.npz"
# What TensorFlow answers, to check the compiled network; absent beside classifiers of earlier releases.
PROBE_FILE = "network_probe.npy"
SHIPPED_FOLDER = Path(__file__).parent / "classifier"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Card:
    """Identity, required models, thresholds and measured quality of a classifier.

    Attributes:
        version: 12 hex digits over the network's weights, the features and the thresholds.
        lsh_version, pair_version: model versions of the embeddings it was trained on.
        lsh_dim, pair_dim: their dimensions.
        blocks: parts of the pair vector and how they are compared.
        features: names, in the order of the network's input.
        threshold: calibrated probability, 0…1, from which a pair is a match.
        head_threshold: lower probability that an image must also reach against the head of the cluster it joins.
        calibration: slope and offset applied to the logits; the network includes them.
        training: counts and settings of the training.
        metrics: measured on groups held out of training.
        network_sha256: of `model.keras`.
        second_look: how the best pairs are looked at again; None if the pair vector has no sketch, or the classifier
            is of an earlier release.
        threshold_table: thresholds by distinctiveness and corpus size, which begin with the two above; None if wrong
            pairs are too few to fit it, or the classifier is of an earlier release: then those two hold everywhere.
    """

    version: str
    lsh_version: str
    pair_version: str
    lsh_dim: int
    pair_dim: int
    blocks: tuple[Block, ...]
    features: tuple[str, ...]
    threshold: float
    head_threshold: float
    calibration: Mapping[str, float]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    network_sha256: str
    second_look: SecondLook | None = None
    threshold_table: ThresholdTable | None = None

    @property
    def required_models(self) -> dict[Kind, ModelSpec]:
        """The embeddings it was trained on."""
        return {
            Kind.LSH: ModelSpec(self.lsh_version, self.lsh_dim),
            Kind.PAIR: ModelSpec(self.pair_version, self.pair_dim, compared_entries(self.blocks)),
        }

    @property
    def passed_over(self) -> float | None:
        """Score of pairs that the second look passes over; None without a second look."""
        return None if self.second_look is None else self.second_look.floor

    @property
    def scoring_files(self) -> dict[str, str]:
        """SHA-256 of the files beside the card that scoring needs, by name."""
        reference = {} if self.second_look is None else {REFERENCE_FILE: self.second_look.reference_sha256}
        return {NETWORK_FILE: self.network_sha256, **reference}

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file beside the card, by name."""
        recorded = {PICTURES_FILE: "pictures_sha256", EVIDENCE_FILE: "evidence_sha256", PROBE_FILE: "probe_sha256"}
        found = {name: self.training.get(key) for name, key in recorded.items()}
        return self.scoring_files | {name: sha256 for name, sha256 in found.items() if sha256 is not None}

    def check_embedders(self, found: Mapping[Kind, ModelSpec]) -> None:
        """Checks that embeddings are those it was trained on.

        Raises:
            BadArtefact: a dimension or a model version differs.
        """
        for kind, expected in self.required_models.items():
            if found[kind] != expected:
                raise BadArtefact(
                    f"classifier {self.version} fits {kind} embeddings of {expected.version!r} [{expected.dim}], "
                    f"settings give {found[kind].version!r} [{found[kind].dim}]: train one for them (`neardup train`) "
                    "and set scoring.model"
                )


def write_card(card: Card, folder: Path) -> None:
    """Writes `card.json`, indented and with its own checksum."""
    content = {"format": FORMAT, **asdict(card), "blocks": [list(block) for block in card.blocks]}
    sealed = {**content, "card_sha256": _seal(content)}
    (folder / CARD_FILE).write_text(json.dumps(sealed, indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """Reads `card.json` and verifies it and the checksums of the files that scoring needs.

    Raises:
        BadArtefact: a file is missing, changed after it was written, or of another format.
    """
    card = parse_card(_content(folder, CARD_FILE), str(folder / CARD_FILE))
    for name, expected in card.scoring_files.items():
        check_file(folder, name, expected)
    return card


def check_file(folder: Path, name: str, sha256: str) -> None:
    """Verifies the checksum of a file of a classifier.

    Raises:
        BadArtefact: it is missing or changed.
    """
    found = hashlib.sha256(_content(folder, name)).hexdigest()
    if found != sha256:
        raise BadArtefact(
            f"{folder / name} is damaged: SHA-256 {found[:12]}…, its card says {sha256[:12]}…; "
            "restore it or train again"
        )


def _content(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BadArtefact(f"classifier {folder} cannot be read ({error}): train it again or restore it") from error


def parse_card(data: bytes, path: str) -> Card:
    """Reads a card and verifies its own checksum, not the network's.

    Args:
        data: content of a `card.json`.
        path: of the file, for messages.

    Raises:
        BadArtefact: it was changed after it was written, or is of another format.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadArtefact(f"{path} cannot be read ({error}): train the classifier again or restore it") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise BadArtefact(f"{path} has format {found}, expected {FORMAT}: train the classifier again")
    sealed = content.pop("card_sha256", None)
    if sealed != _seal(content):
        raise BadArtefact(f"{path} was changed after training (checksum {sealed} does not match): restore it")
    return _parse(content, path)


def _parse(content: dict[str, Any], path: str) -> Card:
    del content["format"]
    try:
        content["blocks"] = tuple(Block(*block) for block in content["blocks"])
        content["features"] = tuple(content["features"])
        if content.get("second_look") is not None:
            content["second_look"] = SecondLook.parse(content["second_look"])
        if content.get("threshold_table") is not None:
            content["threshold_table"] = ThresholdTable.parse(content["threshold_table"])
        card = Card(**content)
        expected = feature_names(card.blocks)
    except (TypeError, KeyError, ValueError) as error:
        raise BadArtefact(f"{path} lacks or misstates a field ({error}): train the classifier again") from error
    if card.features != expected:
        raise BadArtefact(
            f"{path} lists {len(card.features)} features, this release computes {len(expected)} or names them "
            "otherwise: train the classifier again"
        )
    return card


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
