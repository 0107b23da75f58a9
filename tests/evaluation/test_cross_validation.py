"""Cross-validation never evaluates on training pictures; training on several files. Sample pictures, real models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from neardup_platform.cli import cli
from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.evaluation.cross_validation import trainable
from neardup_platform.evaluation.embedded_rows import embed_rows
from neardup_platform.evaluation.evaluation import evaluate
from neardup_platform.evaluation.folds import parts_of
from neardup_platform.evaluation.manifest import read_manifest
from neardup_platform.evaluation.metrics import metrics
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.classifier import training
from neardup_platform.learning.classifier.train_classifier import train_on_pictures
from neardup_platform.learning.classifier.training_set import embed_labelled, join
from neardup_platform.settings import ImageSettings, Settings
from tests.evaluation.labelled_samples import labelled_samples, write_rows

pytestmark = pytest.mark.slow
GROUPS, DISTRACTORS, FOLDS = 14, 10, 2


@pytest.fixture(autouse=True)
def _fewer_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each training fits a network for every fold of its own, which is not what is tested here."""
    monkeypatch.setattr(training, "FOLDS", 2)


@pytest.fixture(scope="module")
def embedders() -> tuple[Embedder, Embedder]:
    return load_embedders(ImageSettings())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_samples(tmp_path_factory.mktemp("samples"), GROUPS, DISTRACTORS)


def also_of(manifest: Path, folder: Path, name: str, group: str) -> Path:
    """Another CSV: a copy of an evaluated picture, and a new picture."""
    shutil.copy(manifest.parent / name, folder / "again.png")
    shutil.copy(manifest.parent / "20-original.png", folder / "own.png")
    (folder / "own.png").write_bytes((folder / "own.png").read_bytes() + b"\0")
    return write_rows(folder / "also.csv", [("again.png", group), ("own.png", "")])


def test_no_part_is_evaluated_by_a_classifier_trained_on_it_and_metrics_are_pooled(
    manifest: Path, tmp_path: Path
) -> None:
    also = also_of(manifest, tmp_path, "3-original.png", "g3")
    # Pictures to alter, some of which are also evaluated.
    diverse = write_rows(
        manifest.parent / "diverse.csv", [(f"{n}-original.png",) for n in (1, 2, 21)], columns=("file",)
    )
    more = ["--also", str(also), "--diverse", str(diverse), "--report", str(tmp_path / "report"), "--json"]
    answer = CliRunner().invoke(cli, ["evaluate", str(manifest), "--folds", str(FOLDS), *more])
    assert answer.exit_code == 0, answer.output
    measured = json.loads(answer.stdout)
    assert measured["trained_on_share"] == 0
    assert [part["images"] for part in measured["parts"]] == [26, 26]
    assert sum(part["pairs_true"] for part in measured["parts"]) == measured["pairs_true"] == 3 * GROUPS
    assert len(set(measured["classifiers"])) == FOLDS
    assert measured["candidate_recall"] == 1.0
    assert measured["pair_average_precision"] > 0.5
    page = Path(measured["report"]).read_text()
    assert "2 parts" in page
    assert "By part" in page


def test_pictures_of_an_evaluated_group_are_not_used_in_training_whichever_file_lists_them(
    manifest: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    rows = read_manifest(manifest)
    embedded = embed_rows(rows, embedders, ImageSettings(), lambda _: None)
    part = parts_of([row.group for row in rows], embedded.fingerprints, FOLDS, 1)
    # A new picture of an evaluated group, one of a new group, and one that is evaluated.
    folder = manifest.parent.parent / "also"
    folder.mkdir()
    for name in ("new.png", "other.png"):
        (folder / name).write_bytes((manifest.parent / "3-original.png").read_bytes() + name.encode())
    shutil.copy(manifest.parent / "4-original.png", folder / "evaluated.png")
    also = write_rows(folder / "also.csv", [("new.png", " g3 "), ("other.png", "else"), ("evaluated.png", "g4")])
    diverse = write_rows(manifest.parent / "diverse.csv", [("3-original.png",), ("../also/new.png",)], ("file",))
    found = trainable(embedded, part, [also], diverse, embedders, ImageSettings())
    names = found.pictures.pictures.ids
    assert names[-2:] == ("new.png", "other.png")
    judged_in = {int(part[number]) for number, row in enumerate(rows) if row.group == "g3"}
    assert found.part[-2:].tolist() == [judged_in.pop(), -1]
    assert found.part[:-2].tolist() == part.tolist()
    assert found.altered is not None
    assert {name.split("#")[0] for name in found.altered.pictures.ids} == {"../also/new.png"}


def test_an_evaluation_on_training_pictures_is_flagged(
    manifest: Path, tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    half = labelled_samples(tmp_path / "half", 7, 0)
    train_on_pictures(half, None, tmp_path / "classifier", ImageSettings())
    shares = [
        metrics(
            evaluate(
                read_manifest(evaluated),
                Settings(),
                lambda _: None,
                classifier=tmp_path / "classifier",
                embedders=embedders,
            )
        )["trained_on_share"]
        for evaluated in (half, manifest)
    ]
    assert shares[0] == 1.0
    # The same first seven originals are in the other set; most of their copies were altered differently.
    assert 7 / (3 * GROUPS + DISTRACTORS) <= shares[1] < 0.5


def test_several_files_form_one_set_and_a_picture_in_two_counts_once(
    manifest: Path, tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    also = also_of(manifest, tmp_path, "3-original.png", "g3")
    sets = embed_labelled([manifest, also], embedders, ImageSettings())
    joined = join(sets)
    assert len(joined.pictures.ids) == len(sets[0].pictures.ids) + 1
    assert joined.pictures.ids[-1] == "own.png"
    assert len(joined.pictures.lsh) == len(joined.pictures.pair) == len(joined.fingerprints)
    assert np.array_equal(joined.pictures.lsh[:-1], sets[0].pictures.lsh)


def test_a_picture_with_two_groups_is_refused_by_name(
    manifest: Path, tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    also = also_of(manifest, tmp_path, "3-original.png", "another")
    with pytest.raises(BadArtefact, match=r"again\.png is the same picture as 3-original\.png.*'another' and 'g3'"):
        join(embed_labelled([manifest, also], embedders, ImageSettings()))


def test_a_missing_file_is_named(tmp_path: Path, embedders: tuple[Embedder, Embedder]) -> None:
    with pytest.raises(SetupError, match=r"gone\.png.*relative to the CSV"):
        embed_labelled([write_rows(tmp_path / "m.csv", [("gone.png", "a")])], embedders, ImageSettings())
