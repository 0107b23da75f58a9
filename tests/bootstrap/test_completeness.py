"""Which data sets are complete, and what the others lack."""

import json
from pathlib import Path

import pytest

from neardup_platform.bootstrap import s3_data_sets
from neardup_platform.bootstrap.completeness import Incomplete, by_data_set, data_set_of, incomplete_in_words
from neardup_platform.bootstrap.data_set import DataFile, DataSet
from neardup_platform.errors import BadArtefact

FOLDER = "bootstrap/shop/"


def objects(**sizes: int) -> list[DataFile]:
    return [DataFile(f"{FOLDER}{name.replace('__', '.')}", size, f"etag{size}") for name, size in sizes.items()]


def manifest(**sizes: int) -> bytes:
    files = [{"name": name.replace("__", "."), "size": size} for name, size in sizes.items()]
    return json.dumps({"files": files}).encode()


def judged(found: list[DataFile], named: bytes | None = None, name: str = "shop") -> list[str] | str:
    """The files of a complete data set, or why it is not complete."""
    result = data_set_of(name, FOLDER, found, named)
    if isinstance(result, Incomplete):
        return result.why
    return [each.key.removeprefix(FOLDER) for each in result.files]


def test_a_success_marker_completes_all_parquet_files_but_hidden_ones() -> None:
    found = objects(b__parquet=1, a__parquet=2, _SUCCESS=0, notes__txt=1)
    found += [DataFile(f"{FOLDER}_temporary/0/c.parquet", 1, "e"), DataFile(f"{FOLDER}day=1/d.parquet", 1, "e")]
    assert judged(found) == ["a.parquet", "b.parquet", "day=1/d.parquet"]


def test_a_partition_is_not_hidden_and_sidecars_do_not_matter() -> None:
    found = [DataFile(f"{FOLDER}{path}", 1, "e") for path in (
        "_SUCCESS", "_metadata", "._SUCCESS.crc", ".a.parquet.crc", "a.parquet.md5", "tag=x y/ä.parquet",
        "_hour=12/b.parquet", "tag=x y/.c.parquet", "old.parquet/", "old.parquet/d.parquet",
    )]  # fmt: skip
    assert judged(found) == ["_hour=12/b.parquet", "old.parquet/d.parquet", "tag=x y/ä.parquet"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("b.PARQUET", "the name of 'b.PARQUET' does not end with .parquet: rename it"),
        ("b.parq", "does not end with .parquet"),
        ("x/b.pq", "does not end with .parquet"),
        ("b.parquet._COPYING_", "does not end with .parquet"),
        ("b.parquet.gz", "or write a manifest.json"),
        ("_delta_log/00000000000000000000.json", "a table of Delta, whose files may hold rows that are deleted"),
        ("metadata/v1.metadata.json", "a table of Iceberg"),
        (".hoodie/hoodie.properties", "a table of Hudi"),
    ],
)
def test_a_folder_that_leaves_open_which_files_count_is_not_loaded(path: str, says: str) -> None:
    found = [*objects(a__parquet=1, _SUCCESS=0), DataFile(f"{FOLDER}{path}", 1, "e")]
    assert says in judged(found)
    assert judged(found, manifest(a__parquet=1)) == ["a.parquet"]


def test_a_manifest_completes_the_files_that_it_names() -> None:
    assert judged(objects(a__parquet=2, b__parquet=1), manifest(a__parquet=2)) == ["a.parquet"]


@pytest.mark.parametrize(
    ("found", "named", "says"),
    [
        (objects(a__parquet=1), None, "neither manifest.json nor _SUCCESS"),
        (objects(_SUCCESS=0), None, "it has 0 Parquet files"),
        (objects(), manifest(), "it has 0 Parquet files"),
        (objects(a__parquet=1), manifest(a__parquet=2), "a.parquet has 1 bytes, manifest.json says 2"),
        (objects(a__parquet=1, _SUCCESS=0), manifest(b__parquet=2), "b.parquet is not there"),
        (objects(a__parquet=1), manifest(a__txt=1), "'a.txt', which is no .parquet file"),
        (objects(), b"{", 'manifest.json is not {"files"'),
        (objects(), b"[" * 100_000, 'manifest.json is not {"files"'),
        (objects(), b'{"files": [{"name": 1, "size": 1}]}', 'manifest.json is not {"files"'),
        (objects(), b'{"files": [{"name": "a.parquet", "size": 1}, {"name": "a.parquet", "size": 1}]}', "twice"),
        (objects(), manifest(**{f"f{n}__parquet": 1 for n in range(9)}), "and 6 more"),
    ],
)
def test_an_incomplete_data_set_says_what_it_lacks(found: list[DataFile], named: bytes | None, says: str) -> None:
    why = judged(found, named)
    assert isinstance(why, str)
    assert says in why


@pytest.mark.parametrize("name", ["a b", "ä", ".hidden", "a" * 101, "a@b"])
def test_a_name_is_part_of_keys_and_ids(name: str) -> None:
    assert "rename the folder" in judged(objects(a__parquet=1, _SUCCESS=0), name=name)


def test_a_replaced_file_makes_another_version_and_the_order_of_the_listing_does_not() -> None:
    first = data_set_of("shop", FOLDER, objects(a__parquet=1, b__parquet=2, _SUCCESS=0), None)
    other = data_set_of("shop", FOLDER, objects(a__parquet=1, b__parquet=3, _SUCCESS=0), None)
    again = data_set_of("shop", FOLDER, objects(_SUCCESS=1, b__parquet=2, a__parquet=1), None)
    assert isinstance(first, DataSet)
    assert isinstance(other, DataSet)
    assert first == again
    assert first.version != other.version


def test_objects_belong_to_the_first_part_of_their_key() -> None:
    found = [
        DataFile(f"bootstrap/{key}", 1, "e") for key in ("stray.parquet", "a/x.parquet", "a/b/y.parquet", "c/", "/d")
    ]
    assert {name: len(each) for name, each in by_data_set(found, "bootstrap/").items()} == {"a": 2, "c": 1}


def test_words_name_a_few() -> None:
    many = [Incomplete(f"n{number}", "it lacks something") for number in range(7)]
    assert incomplete_in_words(many, 1) == "7 incomplete data sets: 'n0': it lacks something; and 6 more"
    assert incomplete_in_words([]) == ""


def test_a_folder_with_too_many_files_is_refused_before_any_is_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_data_sets, "MAX_FILES", 2)
    for number in range(3):
        (tmp_path / f"{number}.parquet").touch()
    with pytest.raises(BadArtefact, match="has 3 Parquet files, at most 2 make a data set: write larger files"):
        s3_data_sets.files_of(tmp_path)
