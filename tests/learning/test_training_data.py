"""The pictures held out of training, and training data on S3."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neardup_platform.errors import BadArtefact, NotFound, SetupError
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.learning.classifier.s3_training_data import get_training_data, put_training_data
from neardup_platform.learning.classifier.training_data import TrainingData, gather, held_out
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import ImageSettings, S3Settings, Settings
from tests.evaluation.labelled_samples import labelled_samples

LIMITS = ImageSettings()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_samples(tmp_path_factory.mktemp("labelled"), 24, 6)


@pytest.fixture(scope="module")
def data(manifest: Path) -> TrainingData:
    return gather([manifest], None, load_embedders(LIMITS), LIMITS)


@pytest.fixture
def s3_settings(servers: Settings) -> S3Settings:
    return servers.s3.model_copy(update={"bucket": "trainingdata"})


def test_whole_groups_are_held_out_and_about_one_in_five() -> None:
    groups = [f"g{number % 1_000}" for number in range(3_000)]
    held = held_out(groups, np.zeros(3_000, np.uint64))
    assert len({(group, bool(h)) for group, h in zip(groups, held, strict=True)}) == 1_000
    assert 0.15 < held.mean() < 0.25


def test_additional_pictures_move_none_to_the_other_part() -> None:
    rng = np.random.default_rng(1)
    groups = ["", *(f"g{n}" for n in range(50))]
    prints = rng.integers(1, 1 << 60, len(groups)).astype(np.uint64)
    before = held_out(groups, prints)
    more = held_out([*groups, *(f"new {n}" for n in range(50))], np.append(prints, np.arange(50, dtype=np.uint64)))
    assert (more[: len(groups)] == before).all()


def test_no_picture_and_no_group_is_in_both_parts(data: TrainingData) -> None:
    assert not set(data.train.fingerprints.tolist()) & set(data.held_out.fingerprints.tolist())
    groups = [{g for g in side.pictures.groups if g} for side in (data.train, data.held_out)]
    assert not groups[0] & groups[1]
    assert all(groups)
    assert data.train_pairs.same.sum() == 3 * len(groups[0])
    assert data.held_out_pairs.same.sum() == 3 * len(groups[1])


def test_altered_copies_of_held_out_pictures_are_not_used_in_training(data: TrainingData, manifest: Path) -> None:
    lines = ["file", *(name for name in data.held_out.pictures.ids), *data.train.pictures.ids[:4]]
    diverse = manifest.parent / "diverse.csv"
    diverse.write_text("\n".join(lines) + "\n")
    altered = gather([manifest], diverse, load_embedders(LIMITS), LIMITS).altered
    assert altered is not None
    assert set(altered.fingerprints.tolist()) == set(data.train.fingerprints[:4].tolist())
    assert len(altered.fingerprints) > 4


def test_training_data_survives_a_round_trip_through_s3(data: TrainingData, s3_settings: S3Settings) -> None:
    s3 = open_s3(s3_settings)
    version = put_training_data(s3, s3_settings, data)
    assert put_training_data(s3, s3_settings, data) == version
    back = get_training_data(s3, s3_settings, version)
    for side in ("train", "held_out"):
        mine, theirs = getattr(data, side), getattr(back, side)
        assert theirs.pictures.ids == mine.pictures.ids
        assert theirs.pictures.groups == mine.pictures.groups
        assert (theirs.fingerprints == mine.fingerprints).all()
        assert (theirs.pictures.lsh == mine.pictures.lsh).all()
        assert (theirs.pictures.pair == mine.pictures.pair).all()
        pairs, again = getattr(data, f"{side}_pairs"), getattr(back, f"{side}_pairs")
        assert all((getattr(pairs, name) == getattr(again, name)).all() for name in ("a", "b", "same"))
    assert back.altered is None
    assert back.recipe == data.recipe
    other = replace(data, recipe=replace(data.recipe, seed=99))
    assert put_training_data(s3, s3_settings, other) != version


def test_damaged_or_missing_training_data_is_refused(data: TrainingData, s3_settings: S3Settings) -> None:
    s3: Any = open_s3(s3_settings)
    version = put_training_data(s3, s3_settings, replace(data, recipe=replace(data.recipe, seed=7)))
    with pytest.raises(NotFound):
        get_training_data(s3, s3_settings, "000000000000")
    s3.put_object(Bucket=s3_settings.bucket, Key=f"training/{version}/pairs.parquet", Body=b"torn")
    with pytest.raises(BadArtefact, match="damaged"):
        get_training_data(s3, s3_settings, version)


def test_too_few_groups_are_refused_with_the_number(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="5 groups of two or more pictures are needed to train on, and there are"):
        gather([labelled_samples(tmp_path, 4, 2)], None, load_embedders(LIMITS), LIMITS)
