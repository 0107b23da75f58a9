"""A classifier learns a kind of pictures from a few of them, keeps what it knew, and says why it cannot."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.images.picture_embedder import PictureEmbedder
from neardup_platform.learning.classifier import adaptation
from neardup_platform.learning.classifier.labelled_evidence import LabelledEvidence, read_evidence, record_evidence
from neardup_platform.learning.classifier.train_classifier import adapt_to_pictures
from neardup_platform.learning.classifier.training_pictures import read_training_pictures
from neardup_platform.scoring.card import EVIDENCE_FILE, SHIPPED_FOLDER, read_card, write_card
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.reference import read_reference
from neardup_platform.scoring.second_look import EVIDENCE
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import ImageSettings

IMAGES = ImageSettings()
PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "samples/pictures").glob("*.jpg"))[:6]


def ticket(seed: int) -> Image.Image:
    """A ticket of one machine: a frame, a seat, a barcode of which the first half is the machine's."""
    rng, machine = np.random.default_rng(seed), np.random.default_rng(0)
    page = Image.new("RGB", (420, 200), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((8, 8, 412, 192), outline="black", width=4)
    draw.text((24, 20), "CITY RAILWAY", fill="black", font_size=26)
    draw.text((24, 66), f"SEAT {rng.integers(1, 99)} COACH {rng.integers(1, 20)}", fill="black", font_size=20)
    at = 24
    while at < 390:
        width, gap = (int(side) for side in (machine if at < 195 else rng).integers(2, 9, 2))
        draw.rectangle((at, 110, at + width, 176), fill="black")
        at += width + gap
    return page


def crop(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((6, 5, width - 7, height - 6)).resize((width * 3 // 4, height * 3 // 4))


def write(folder: Path, pictures: dict[str, Image.Image], groups: dict[str, str] | None) -> Path:
    folder.mkdir()
    for name, picture in pictures.items():
        picture.save(folder / name)
    with (folder / "tickets.csv").open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["file"] if groups is None else ["file", "group"])
        rows.writerows([name] if groups is None else [name, groups[name]] for name in pictures)
    return folder / "tickets.csv"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped classifier with a thirtieth of its evidence, so that a fit takes a second."""
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(SHIPPED_FOLDER, folder)
    card = read_card(folder)
    known = read_evidence(card, folder)
    assert known is not None
    record_evidence(card, folder, LabelledEvidence(*(column[::30] for column in known)))
    return folder


@pytest.fixture(scope="module")
def embed() -> Callable[[list[Image.Image]], ImageVectors]:
    def vectors(pictures: list[Image.Image]) -> ImageVectors:
        embedder = PictureEmbedder(IMAGES, read_card(SHIPPED_FOLDER).required_models)
        try:
            lsh, pair = embedder.embed([np.asarray(picture) for picture in pictures])
        finally:
            embedder.close()
        return ImageVectors(lsh.astype(np.float16), pair.astype(np.float16))

    return vectors


def test_pictures_without_labels_make_their_kind_crowded_and_nothing_else(
    base: Path, embed: Callable[[list[Image.Image]], ImageVectors], tmp_path: Path
) -> None:
    manifest = write(tmp_path / "new", {f"{n}.png": ticket(n) for n in range(24)}, None)
    found = adapt_to_pictures(manifest, base, tmp_path / "out", IMAGES)
    before, after = PairClassifier(base), PairClassifier(tmp_path / "out")
    assert (found.added, found.lesson.pairs, found.lesson.after) == (24, 0, None)
    assert after.version == found.card.version != before.version
    assert (after.threshold, after.threshold_table) == (before.threshold, before.threshold_table)
    assert len(read_reference(tmp_path / "out/reference.npy")) == len(read_reference(base / "reference.npy")) + 24

    others = embed([ticket(n) for n in range(100, 112)])
    a, b = np.triu_indices(12, 1)
    first, scores = (
        before.first_scores(others, a, others, b),
        [each.score(others, a, others, b) for each in (before, after)],
    )
    assert (first > 0.02).mean() > 0.5, "tickets are look-alikes, or this shows nothing"
    assert scores[1].mean() < scores[0].mean()
    assert (scores[1] < after.threshold).all()
    assert after.undistinctive(others).all()

    photographs = embed([p for path in PHOTOGRAPHS for p in (Image.open(path), crop(Image.open(path)))])
    even = np.arange(0, len(photographs.lsh), 2)
    assert np.allclose(*(c.score(photographs, even, photographs, even + 1) for c in (before, after)), atol=0.02)
    old, new = read_training_pictures(read_card(base), base), read_training_pictures(found.card, tmp_path / "out")
    assert old is not None
    assert new is not None
    assert len(new) == len(old) + 24


def test_labelled_pairs_fit_the_curves_again_and_can_be_added_to(base: Path, tmp_path: Path) -> None:
    pictures = {f"{n}.png": ticket(n) for n in range(40)} | {f"{n}-copy.png": crop(ticket(n)) for n in range(24)}
    groups = {name: name.split(".")[0].split("-")[0] for name in pictures}
    manifest = write(tmp_path / "new", pictures, groups)
    found = adapt_to_pictures(manifest, base, tmp_path / "out", IMAGES)
    lesson = found.lesson
    assert found.added == 40, "copies are no surroundings"
    assert lesson.pairs_true >= 20
    assert lesson.pairs - lesson.pairs_true >= 20
    assert lesson.before is not None
    assert lesson.after is not None
    assert lesson.after.wrong < lesson.before.wrong
    assert lesson.after.found > 0.6
    known, more = (read_evidence(read_card(folder), folder) for folder in (base, tmp_path / "out"))
    assert known is not None
    assert more is not None
    assert len(more.same) == len(known.same) + lesson.pairs
    again = adapt_to_pictures(manifest, tmp_path / "out", tmp_path / "again", IMAGES)
    assert [each["from"] for each in again.card.training["adaptations"]] == [
        read_card(base).version,
        found.card.version,
    ]


def test_too_few_labelled_pairs_leave_the_curves_as_they_are(base: Path, tmp_path: Path) -> None:
    pictures = {"a.png": ticket(1), "b.png": crop(ticket(1)), "c.png": ticket(2)}
    found = adapt_to_pictures(
        write(tmp_path / "new", pictures, {"a.png": "x", "b.png": "x", "c.png": ""}), base, tmp_path / "out", IMAGES
    )
    assert found.lesson.model == PairClassifier(base).card.second_look.model  # type: ignore[union-attr]
    assert (found.added, found.lesson.after) == (2, None)


def test_refusals_name_the_classifier_and_the_way_out(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write(tmp_path / "new", {"a.png": ticket(1)}, None)
    with pytest.raises(SetupError, match="name another folder"):
        adapt_to_pictures(manifest, base, base, IMAGES)
    bare = tmp_path / "bare"
    shutil.copytree(base, bare)
    card = read_card(bare)
    write_card(replace(card, training={k: v for k, v in card.training.items() if k != "evidence_sha256"}), bare)
    with pytest.raises(BadArtefact, match=f"{card.version} keeps no training evidence"):
        adapt_to_pictures(manifest, bare, tmp_path / "out", IMAGES)
    damaged = tmp_path / "damaged"
    shutil.copytree(base, damaged)
    (damaged / EVIDENCE_FILE).write_bytes((base / EVIDENCE_FILE).read_bytes()[:-9])
    with pytest.raises(BadArtefact, match="damaged"):
        adapt_to_pictures(manifest, damaged, tmp_path / "out", IMAGES)
    monkeypatch.setattr(adaptation, "MOST_REFERENCE", len(read_reference(base / "reference.npy")))
    with pytest.raises(SetupError, match="has 1000 images, at most 1000"):
        adapt_to_pictures(manifest, base, tmp_path / "out", IMAGES)
    assert not (tmp_path / "out").exists()


def test_evidence_of_another_release_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "other")
    card = read_card(tmp_path / "other")
    known = read_evidence(card, tmp_path / "other")
    assert known is not None
    card = record_evidence(card, tmp_path / "other", known._replace(evidence=known.evidence[:, 1:]))
    with pytest.raises(BadArtefact, match=f"expected {len(EVIDENCE)} columns"):
        read_evidence(card, tmp_path / "other")
