"""The registry of classifiers, on a real S3 server."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.learning.classifier import s3_registry
from neardup_platform.learning.classifier.s3_registry import fetch, list_published, publish
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import (
    CARD_FILE,
    EVIDENCE_FILE,
    NETWORK_FILE,
    PICTURES_FILE,
    PROBE_FILE,
    REFERENCE_FILE,
    SHIPPED_FOLDER,
    read_card,
)
from neardup_platform.settings import S3Settings, Settings
from tests.scoring.variants import variant

VERSION = "0123456789ab"
TRAINING = {k: v for k, v in read_card(SHIPPED_FOLDER).training.items() if k != "pictures_sha256"}


@pytest.fixture
def settings(servers: Settings, request: pytest.FixtureRequest) -> S3Settings:
    """The test's own bucket, not yet created."""
    name = "".join(c for c in request.node.name.lower() if c.isalnum())[:40]
    return servers.s3.model_copy(update={"bucket": f"{name}{abs(hash(request.node.nodeid)) % 10_000}"})


@pytest.fixture
def s3(settings: S3Settings) -> Iterator[Any]:
    return open_s3(settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    variant(tmp_path / "trained", VERSION)
    return tmp_path / "trained"


def files(home: Path) -> list[str]:
    return sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file())


def test_what_is_published_is_listed_and_fetched_byte_for_byte(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path
) -> None:
    card, new = publish(s3, settings, folder)
    (listed,) = list_published(s3, settings.bucket)
    assert new
    assert (listed.version, listed.card, listed.problem) == (VERSION, card, "")
    fetched = fetch(settings, VERSION, tmp_path / "home")
    assert fetched == tmp_path / "home" / "classifiers" / VERSION
    assert files(fetched) == files(folder)
    assert all((fetched / name).read_bytes() == (folder / name).read_bytes() for name in files(folder))


def test_an_empty_registry_lists_nothing(s3: Any, settings: S3Settings) -> None:
    assert list_published(s3, settings.bucket) == []


def test_the_newest_is_listed_first(s3: Any, settings: S3Settings, tmp_path: Path) -> None:
    for number in (3, 1, 2):
        variant(tmp_path / str(number), f"00000000000{number}")
        publish(s3, settings, tmp_path / str(number))
    listed = list_published(s3, settings.bucket)
    assert sorted(listed, key=lambda p: p.published_ms, reverse=True) == listed
    assert {p.version[-1] for p in listed} == {"1", "2", "3"}


def test_publishing_again_changes_nothing_and_other_bytes_are_refused(
    s3: Any, settings: S3Settings, folder: Path
) -> None:
    card, _ = publish(s3, settings, folder)
    assert publish(s3, settings, folder) == (card, False)
    variant(folder, VERSION, threshold=0.9)
    with pytest.raises(BadArtefact, match="never changes"):
        publish(s3, settings, folder)
    (listed,) = list_published(s3, settings.bucket)
    assert listed.card == card


def test_an_interrupted_publication_is_invisible_and_can_be_completed(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path
) -> None:
    publish(s3, settings, folder)
    s3.delete_object(Bucket=settings.bucket, Key=f"classifiers/{VERSION}/{CARD_FILE}")
    assert list_published(s3, settings.bucket) == []
    with pytest.raises(NotFound, match="not in the registry"):
        fetch(settings, VERSION, tmp_path / "home")
    assert publish(s3, settings, folder)[1]
    assert fetch(settings, VERSION, tmp_path / "home").is_dir()


@pytest.mark.parametrize("name", [CARD_FILE, NETWORK_FILE])
def test_a_damaged_object_is_refused_and_leaves_nothing_behind(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path, name: str
) -> None:
    publish(s3, settings, folder)
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    s3.put_object(Bucket=settings.bucket, Key=f"classifiers/{VERSION}/{name}", Body=bytes(data))
    with pytest.raises(BadArtefact):
        fetch(settings, VERSION, tmp_path / "home")
    assert files(tmp_path / "home") == []
    assert list((tmp_path / "home" / "classifiers").iterdir()) == []


def test_an_artefact_under_another_version_is_refused(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path
) -> None:
    publish(s3, settings, folder)
    for name in (CARD_FILE, NETWORK_FILE, PROBE_FILE, REFERENCE_FILE, PICTURES_FILE, EVIDENCE_FILE):
        other = f"classifiers/ba9876543210/{name}"
        s3.put_object(Bucket=settings.bucket, Key=other, Body=(folder / name).read_bytes())
    with pytest.raises(BadArtefact, match=f"holds classifier {VERSION}"):
        fetch(settings, "ba9876543210", tmp_path / "home")


def test_an_oversized_object_is_not_downloaded_completely(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(s3, settings, folder)
    s3.put_object(Bucket=settings.bucket, Key=f"classifiers/{VERSION}/{CARD_FILE}", Body=b" " * (3 << 20))
    with pytest.raises(BadArtefact, match="larger than 1 MiB"):
        fetch(settings, VERSION, tmp_path / "home")
    monkeypatch.setitem(s3_registry.MAX_BYTES, NETWORK_FILE, 1_000)
    with pytest.raises(BadArtefact, match="the limit is 1000"):
        publish(s3, settings, folder)


def test_a_damaged_local_copy_is_fetched_again_and_an_intact_one_needs_no_s3(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path
) -> None:
    publish(s3, settings, folder)
    local = fetch(settings, VERSION, tmp_path / "home")
    (local / NETWORK_FILE).write_bytes(b"torn")
    assert fetch(settings, VERSION, tmp_path / "home") == local
    assert (local / NETWORK_FILE).read_bytes() == (folder / NETWORK_FILE).read_bytes()
    away = settings.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    assert fetch(away, VERSION, tmp_path / "home") == local
    shutil.rmtree(local)
    with pytest.raises(ServerUnavailable, match=VERSION):
        fetch(away, VERSION, tmp_path / "home")
    assert list((tmp_path / "home" / "classifiers").iterdir()) == []


@pytest.mark.parametrize("version", ["", "..", "../../../etc", "0123456789AB", "0123456789ab/", "0123456789abc", "a\n"])
def test_only_twelve_hex_digits_are_a_valid_folder_name(settings: S3Settings, tmp_path: Path, version: str) -> None:
    with pytest.raises(BadArtefact, match="12 hex digits"):
        fetch(settings, version, tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_the_list_of_training_pictures_is_published_too_and_verified(
    s3: Any, settings: S3Settings, folder: Path, tmp_path: Path
) -> None:
    pictures = bytes(range(32))
    variant(folder, VERSION, training={**TRAINING, "pictures_sha256": hashlib.sha256(pictures).hexdigest()})
    (folder / PICTURES_FILE).unlink()
    with pytest.raises(BadArtefact, match=r"training_pictures\.bin"):
        publish(s3, settings, folder)
    (folder / PICTURES_FILE).write_bytes(pictures)
    publish(s3, settings, folder)
    assert (fetch(settings, VERSION, tmp_path / "home") / PICTURES_FILE).read_bytes() == pictures
    s3.put_object(Bucket=settings.bucket, Key=f"classifiers/{VERSION}/{PICTURES_FILE}", Body=pictures[:-8])
    with pytest.raises(BadArtefact, match="damaged"):
        fetch(settings, VERSION, tmp_path / "other")


def test_an_unmeasured_classifier_is_not_published(s3: Any, settings: S3Settings, folder: Path) -> None:
    variant(folder, VERSION, metrics={})
    with pytest.raises(BadArtefact, match="was never measured"):
        publish(s3, settings, folder)
    assert list_published(s3, settings.bucket) == []
