"""Reading the manifest of an evaluation."""

from pathlib import Path

import pytest

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.evaluation.manifest import group_label, read_manifest, read_manifests
from tests.evaluation.labelled_samples import write_rows

ROWS = [("a.jpg", "g"), ("in/b.jpg", "g"), ("c.jpg", "")]


def test_details_fill_in_empty_columns_of_the_manifest(tmp_path: Path) -> None:
    manifest = write_rows(
        tmp_path / "m.csv", [("a.jpg", "g", "own"), ("in/b.jpg", "g", "")], ("file", "group", "subset")
    )
    (tmp_path / "in").mkdir()
    details = write_rows(
        tmp_path / "in" / "d.csv",
        [("../a.jpg", "other", "crop", "0", "t"), ("b.jpg", "other", "flip", "1", ""), ("z.jpg", "", "", "", "")],
        ("file", "subset", "transformation", "geom_flip_rotate", "template"),
    )
    first, second = read_manifest(manifest, [details])
    assert (first.subset, first.transformation, first.turned) == ("own", "crop", False)
    assert (second.subset, second.transformation, second.turned) == ("other", "flip", True)
    assert (first.labels.change, first.labels.template, second.labels.template) == ("altered-copy", "t", "")


def test_a_distractor_has_its_own_group(tmp_path: Path) -> None:
    rows = read_manifest(write_rows(tmp_path / "m.csv", [*ROWS, ("d.jpg", " ")]))
    labels = [group_label(row, number) for number, row in enumerate(rows)]
    assert labels[0] == labels[1]
    assert len(set(labels)) == 3


@pytest.mark.parametrize("rows", [[("a.jpg", ""), ("b.jpg", "")], [("a.jpg", "x"), ("b.jpg", "y")]])
def test_a_manifest_without_near_duplicates_is_refused(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    with pytest.raises(SetupError, match=r"m\.csv: no two of its 2 rows share a group"):
        read_manifest(write_rows(tmp_path / "m.csv", rows))


def test_details_that_are_missing_or_about_other_pictures_are_refused_by_name(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path / "m.csv", ROWS)
    with pytest.raises(SetupError, match=r"nowhere\.csv cannot be read"):
        read_manifest(manifest, [tmp_path / "nowhere.csv"])
    with pytest.raises(SetupError, match=r"d\.csv names no picture of .*m\.csv"):
        read_manifest(manifest, [write_rows(tmp_path / "d.csv", [("x/a.jpg", "s")], ("file", "subset"))])


def test_manifest_without_its_columns_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"m\.csv.*file, group"):
        read_manifest(write_rows(tmp_path / "m.csv", [("a.jpg", "1")], ("picture", "label")))


def test_manifest_that_lists_a_file_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match="1 files more than once"):
        read_manifest(write_rows(tmp_path / "m.csv", [("a.jpg", ""), ("a.jpg", "g")]))


def test_manifests_are_read_as_one_and_one_of_them_may_hold_distractors_alone(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    groups = write_rows(tmp_path / "m.csv", ROWS)
    lone = write_rows(tmp_path / "far" / "m.csv", [("a.jpg", "", "charts")], ("file", "group", "subset"))
    rows = read_manifests([groups, lone])
    assert rows[:3] == read_manifest(groups)
    assert (rows[3].file, rows[3].group, rows[3].subset) == (tmp_path / "far" / "a.jpg", "", "charts")
    with pytest.raises(SetupError, match="no two of its 1 rows share a group"):
        read_manifests([lone])


def test_a_group_that_two_manifests_name_is_refused(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "m.csv", ROWS)
    second = write_rows(tmp_path / "n.csv", [("x.jpg", "g"), ("y.jpg", "h"), ("z.jpg", "")])
    with pytest.raises(SetupError, match=r"m\.csv and .*n\.csv both name group g: "):
        read_manifests([first, second])


def test_a_picture_that_two_manifests_list_is_refused(tmp_path: Path) -> None:
    second = write_rows(tmp_path / "n.csv", [("c.jpg", ""), ("d.jpg", "")])
    with pytest.raises(BadArtefact, match=r"m\.csv, .*n\.csv lists 1 files more than once"):
        read_manifests([write_rows(tmp_path / "m.csv", ROWS), second])
