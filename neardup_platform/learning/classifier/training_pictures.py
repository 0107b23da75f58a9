"""The pictures that a classifier was trained on, so that an evaluation detects when it uses them.

Beside the network and its card is **`training_pictures.bin`**: the first eight bytes of the SHA-256 of every training
file, ascending, as little-endian uint64. The card holds the SHA-256 of this file under `training.pictures_sha256`. A
re-encoded copy of a picture is another file and is not recognised.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.card import PICTURES_FILE, Card, write_card

Fingerprints = NDArray[np.uint64]


def fingerprint(content: bytes) -> int:
    """The first eight bytes of a file's SHA-256, as an unsigned number."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def record_training_pictures(card: Card, folder: Path, pictures: Fingerprints) -> Card:
    """Write the fingerprints beside a card, and write the card again with their checksum.

    Args:
        card: as written to `folder`.
        folder: of the classifier.
        pictures: uint64 [n], in any order.

    Returns:
        The card with the checksum; its version does not change.
    """
    content = np.unique(pictures).astype("<u8").tobytes()
    (folder / PICTURES_FILE).write_bytes(content)
    recorded = replace(card, training={**card.training, "pictures_sha256": hashlib.sha256(content).hexdigest()})
    write_card(recorded, folder)
    return recorded


def read_training_pictures(card: Card, folder: Path) -> Fingerprints | None:
    """The fingerprints, uint64 [n] ascending; None if the classifier has none.

    Raises:
        BadArtefact: the file does not match the checksum on the card.
    """
    path = folder / PICTURES_FILE
    expected = card.training.get("pictures_sha256")
    if expected is None:
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest() != expected:
        raise BadArtefact(f"{path} is damaged, its SHA-256 is not {expected[:12]}…: restore it or train again")
    return np.frombuffer(content, "<u8").astype(np.uint64)
