"""The report: a single self-contained file, safe whatever the file names are."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import SetupError
from neardup_platform.evaluation.html_report import prepare_folder, write_report
from neardup_platform.evaluation.manifest import Row, read_manifest
from neardup_platform.evaluation.metrics import metrics
from neardup_platform.evaluation.pair_overlaps import overlaps_of
from neardup_platform.evaluation.picture_sheet import outlined
from neardup_platform.evaluation.worst_pairs import worst_false_positives, worst_misses
from neardup_platform.images.picture_sketch import sketch_of
from neardup_platform.scoring.features import SKETCH, Block
from neardup_platform.settings import ImageSettings
from neardup_platform.structure.overlap import Relation
from neardup_platform.structure.sketch import ENTRIES
from tests.evaluation.hand_made import evaluation_of
from tests.evaluation.labelled_samples import labelled_samples
from tests.structure.pictures import picture

EVIL = "<img src=x onerror=alert(1)>"
BLOCKS = [Block("shape", 0, 8, "cosine")]


def report_of(rows: list[Row], heads: list[int], scored: list[tuple[int, int, float]], folder: Path, **how) -> str:
    evaluation = evaluation_of([], heads, scored, rows=rows, **how)
    path = write_report(
        evaluation, metrics(evaluation), folder, title="<b>m.csv", blocks=BLOCKS, limits=ImageSettings()
    )
    assert path == folder / "report.html"
    assert [each.name for each in folder.iterdir()] == ["report.html"]
    return path.read_text()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    read = read_manifest(labelled_samples(tmp_path_factory.mktemp("samples"), 4, 3))
    evil = read[0].file.with_name(EVIL.replace("/", "") + ".png")
    read[0].file.rename(evil)
    return [Row(evil, read[0].group, EVIL, EVIL), *read[1:]]


def test_the_report_needs_no_other_file_and_runs_no_code(rows: list[Row], tmp_path: Path) -> None:
    scored = [(later, earlier, 0.6) for later in range(len(rows)) for earlier in range(later)]
    page = report_of(rows, [0] * len(rows), scored, tmp_path)
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert len(sources) > 20
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    assert EVIL not in page
    assert "&lt;img src=x" in page
    assert "&lt;b&gt;m.csv" in page


def test_the_worst_pairs_are_shown_with_their_scores_and_bounded(rows: list[Row], tmp_path: Path) -> None:
    many = [rows[n % len(rows)] for n in range(300)]
    many = [Row(row.file, f"g{n // 2}", row.subset, row.transformation) for n, row in enumerate(many)]
    scored = [(later, later - 1, 0.3 + later / 1_000) for later in range(1, 300)]
    page = report_of(many, list(range(300)), scored, tmp_path)
    assert page.count("<article") == 80
    assert "score 0.598, apart" in page
    assert "match" in page
    assert len(page) < 2_000_000


def test_mixed_clusters_and_refused_pictures_are_listed(rows: list[Row], tmp_path: Path) -> None:
    page = report_of(rows, [0] * len(rows), [(1, 0, 0.9)], tmp_path, refused=[2])
    assert "Pictures refused" in page
    assert "no picture" in page
    assert re.search(r"<strong>\d groups</strong>, 14 pictures", page)


def test_a_mixed_cluster_shows_one_picture_of_each_group_and_what_it_mixes(rows: list[Row], tmp_path: Path) -> None:
    page = report_of(rows, [0] * len(rows), [(1, 0, 0.9)], tmp_path)
    groups = len({row.group for row in rows if row.group}) + sum(not row.group for row in rows)
    assert page.count("<figure title") == groups
    assert page.count("3 of its group") == len({row.group for row in rows if row.group})
    assert re.search(r"15 pictures: copies \d+, alone \d, &lt;img", page)


def test_subsets_come_worst_first(rows: list[Row], tmp_path: Path) -> None:
    named = [Row(row.file, row.group, "clean" if row.group else "mixed up") for row in rows]
    first = {row.group: n for n, row in reversed(list(enumerate(named)))}
    page = report_of(named, [first[row.group] for row in named], [(1, 0, 0.9)], tmp_path)
    assert page.index("<tr><th>mixed up") < page.index("<tr><th>clean")


def test_an_evaluation_without_errors_or_scores_also_has_a_report(rows: list[Row], tmp_path: Path) -> None:
    names = sorted({row.group for row in rows})
    heads = [next(n for n, other in enumerate(rows) if other.group == row.group) for row in rows]
    alone = [n if not row.group else head for n, (row, head) in enumerate(zip(rows, heads, strict=True))]
    page = report_of(rows, alone, [], tmp_path)
    assert len(names) > 1
    assert page.count('<p class="empty">None.</p>') == 3


def test_a_classifier_evaluated_on_its_own_training_pictures_is_flagged(rows: list[Row], tmp_path: Path) -> None:
    evaluation = evaluation_of([], list(range(len(rows))), [(1, 0, 0.9)], rows=rows)
    found = metrics(evaluation)
    for share, says in ((0.5, "50.0%"), (None, "are unknown"), (0.0, "None of these pictures")):
        measured = {**found, "trained_on_share": share}
        path = write_report(evaluation, measured, tmp_path, title="m", blocks=BLOCKS, limits=ImageSettings())
        assert says in path.read_text()


def test_an_unwritable_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"file/report cannot be written.*--report"):
        prepare_folder(tmp_path / "file" / "report")


def test_the_worst_pairs_are_outlined_where_their_pictures_agree(rows: list[Row], tmp_path: Path) -> None:
    whole = picture(0)
    pictures = [whole, whole.crop((whole.width // 4, whole.height // 5, whole.width, whole.height)), picture(1)]
    made = []
    for number, image in enumerate(pictures):
        image.save(tmp_path / f"{number}.png")
        made.append(Row(tmp_path / f"{number}.png", "g" if number < 2 else ""))
    evaluation = evaluation_of([], [0, 1, 0], [(1, 0, 0.3), (2, 0, 0.9)], rows=made)
    for number, image in enumerate(pictures):
        joined = evaluation.embedded.images[number]
        sketch = replace(joined.pair, vector=sketch_of(np.asarray(image)))
        evaluation.embedded.images[number] = replace(joined, pair=sketch)
    blocks = [Block("sketch", 0, ENTRIES, SKETCH)]
    overlaps = overlaps_of(evaluation, worst_misses(evaluation) + worst_false_positives(evaluation), blocks)
    assert [each and each.relation for each in overlaps] == [Relation.B_INSIDE_A, None]
    small = whole.resize((160, 120))
    blue = np.argwhere((np.asarray(outlined(small, overlaps[0].b_in_a)) == (79, 70, 229)).all(axis=2))
    assert abs(blue.min(axis=0) - (24, 40)).max() <= 5
    drawn = write_report(
        evaluation, metrics(evaluation), tmp_path / "out", title="t", blocks=blocks, limits=ImageSettings()
    ).read_text()
    assert drawn.count("the second lies inside the first") == 1
