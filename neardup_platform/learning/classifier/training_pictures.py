"""Which pictures a classifier was trained on, so that an evaluation can tell when it judges by them.

Beside the network and its card lies **`training_pictures.bin`**: the first eight bytes of the SHA-256 of every
file trained on, ascending, as little-endian uint64. The card holds the file's own SHA-256 under
`training.pictures_sha256`. A copy saved anew is another file and is not recognised.
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
    """Writes the fingerprints beside a card just written, and the card anew with their checksum.

    Args:
        card: as written to `folder`.
        folder: of the classifier.
        pictures: uint64 [n], in any order.

    Returns:
        The card as it is now; its version does not change.
    """
    content = np.unique(pictures).astype("<u8").tobytes()
    (folder / PICTURES_FILE).write_bytes(content)
    recorded = replace(card, training={**card.training, "pictures_sha256": hashlib.sha256(content).hexdigest()})
    write_card(recorded, folder)
    return recorded


def read_training_pictures(card: Card, folder: Path) -> Fingerprints | None:
    """The fingerprints, uint64 [n] ascending; None where the classifier came without them.

    Raises:
        BadArtefact: the file is not the one that the card names.
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
