"""Claims about PDQ hashes of real pictures, and about what producers send."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neardup_platform.images import pdq_hash as module
from neardup_platform.images.pdq_hash import pdq_hash
from neardup_platform.records import PdqHash
from neardup_platform.stream.banks.bank_hashes import MAX_DISTANCE

PICTURES = Path(__file__).parents[2] / "samples" / "pictures"


def of(picture: Image.Image) -> PdqHash:
    found = pdq_hash(np.asarray(picture.convert("RGB")))
    assert found is not None
    return found


def saved(picture: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content)


def apart(one: PdqHash, other: PdqHash) -> int:
    return (int.from_bytes(one.bits) ^ int.from_bytes(other.bits)).bit_count()


@pytest.mark.parametrize("name", ["colosseum", "moose", "petra"])
def test_a_copy_saved_again_or_scaled_is_near_and_another_picture_is_not(name: str) -> None:
    original = Image.open(PICTURES / f"{name}.jpg").convert("RGB")
    expected = of(original)
    assert expected.reliable
    for copy in (saved(original, 40), original.resize((original.width // 2, original.height // 2))):
        assert apart(expected, of(copy)) <= MAX_DISTANCE
    assert apart(expected, of(Image.open(PICTURES / "lemurs.jpg"))) > 2 * MAX_DISTANCE


def test_a_large_picture_is_averaged_down_and_stays_near() -> None:
    original = Image.open(PICTURES / "colosseum.jpg").convert("RGB")
    assert apart(of(original), of(original.resize((original.width * 4, original.height * 4)))) <= MAX_DISTANCE


def test_a_blank_picture_has_no_reliable_hash() -> None:
    assert not of(Image.new("RGB", (400, 300), "white")).reliable
    assert not of(Image.new("RGB", (1, 1))).reliable


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(_name: str) -> None:
        raise ImportError

    monkeypatch.setattr(module, "import_module", fail)
    module._package.cache_clear()
    yield
    module._package.cache_clear()


@pytest.mark.usefixtures("without_package")
def test_without_the_package_pictures_have_no_hash() -> None:
    assert pdq_hash(np.zeros((9, 9, 3), np.uint8)) is None
