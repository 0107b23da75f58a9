"""The record of the pictures that a classifier was trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.learning.classifier.training_pictures import (
    PICTURES_FILE,
    fingerprint,
    read_training_pictures,
    record_training_pictures,
)
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card

PRINTS = np.array([fingerprint(bytes([n])) for n in (3, 1, 2, 3)], np.uint64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(SHIPPED_FOLDER, tmp_path / "classifier"))
    record_training_pictures(read_card(copied), copied, PRINTS)
    return copied


def test_each_picture_is_recorded_once_and_the_card_is_still_valid(folder: Path) -> None:
    card = read_card(folder)
    seen = read_training_pictures(card, folder)
    assert seen is not None
    assert seen.tolist() == sorted(set(PRINTS.tolist()))
    assert (folder / PICTURES_FILE).stat().st_size == 8 * 3
    assert card.version == read_card(SHIPPED_FOLDER).version


def test_fingerprints_are_the_same_on_every_machine() -> None:
    assert fingerprint(b"") == 0xE3B0C44298FC1C14
    assert fingerprint(b"a") != fingerprint(b"b")


def test_a_damaged_file_is_refused_and_a_missing_one_is_unknown(folder: Path) -> None:
    content = (folder / PICTURES_FILE).read_bytes()
    (folder / PICTURES_FILE).write_bytes(content[:-8])
    with pytest.raises(BadArtefact, match=r"training_pictures\.bin is damaged"):
        read_training_pictures(read_card(folder), folder)
    (folder / PICTURES_FILE).unlink()
    assert read_training_pictures(read_card(folder), folder) is None
