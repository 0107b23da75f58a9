"""`neardup bench accuracy`: every count and curve equals what counting pair by pair gives."""

import csv
import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from neardup_platform.bench import accuracy, hamming_counts
from neardup_platform.bench.accuracy import Measured, line_measures, measure_hash, measure_pipeline
from neardup_platform.bench.hamming_counts import by_score, distance_counts, hamming
from neardup_platform.bench.hash_peers import PEERS, HashPeer
from neardup_platform.bench.hashed_pictures import UNREADABLE, hash_rows
from neardup_platform.bench.labelled_pairs import ACROSS, ALL, Labels
from neardup_platform.bench.matplotlib_curves import draw_curves
from neardup_platform.cli.main import cli
from neardup_platform.errors import SetupError
from neardup_platform.evaluation.manifest import Row
from neardup_platform.images.decode import Pixels
from neardup_platform.scoring.calibration import precision_recall
from neardup_platform.settings import ImageSettings
from tests.evaluation.hand_made import THRESHOLD, evaluation_of
from tests.evaluation.labelled_samples import labelled_samples

SAMPLES = Path(__file__).parents[2] / "samples" / "pictures"
FILES = ("cat.jpg", "owl.jpg", "petra.jpg", "panda.jpg")


def rows_of(*labels: tuple[str, str]) -> list[Row]:
    """A row per group and subset."""
    return [Row(Path(f"/pictures/{number}.png"), group, subset) for number, (group, subset) in enumerate(labels)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Photographs with a smaller and a darker copy of each, blank pages, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("planted")
    rows = []
    for name in FILES:
        with Image.open(SAMPLES / name) as opened:
            image = opened.convert("RGB")
        copies = (image, image.resize((200, 150)), image.point(lambda level: int(level * 0.7)))
        for number, copy in enumerate(copies):
            file = folder / f"{number}-{name}.png"
            copy.save(file)
            rows.append(Row(file, name, "photographs"))
    for level in (250, 251, 90):
        file = folder / f"{level}.png"
        Image.new("RGB", (120, 90), (level, level, level)).save(file)
        rows.append(Row(file, "pages" if level > 200 else "", "blank"))
    (folder / "broken.png").write_bytes(b"no picture")
    return [*rows, Row(folder / "broken.png", FILES[0], "blank")]


def test_distances_are_counted_by_cell_and_label_as_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming_counts, "_BLOCK", 7)
    rng, n = np.random.default_rng(3), 60
    codes = rng.integers(0, 2**64, (n, 4), np.uint64)
    codes[1::2] = codes[::2] ^ rng.integers(0, 2**12, (n // 2, 4), np.uint64)
    labels = Labels(rng.integers(0, 12, n), rng.integers(0, 3, n), ("a", "b", "c"))
    used = rng.random(n) < 0.8
    expected = np.zeros((4, 2, 257), np.int64)
    for i, j in combinations(np.flatnonzero(used), 2):
        cell = labels.subsets[i] if labels.subsets[i] == labels.subsets[j] else 3
        distance = sum(int(a ^ b).bit_count() for a, b in zip(codes[i], codes[j], strict=True))
        expected[cell, int(labels.groups[i] == labels.groups[j]), distance] += 1
    counts = distance_counts(codes, used, labels)
    assert counts.tolist() == expected.tolist()
    assert counts.sum() == used.sum() * (used.sum() - 1) // 2


@pytest.mark.parametrize("used", [0, 1])
def test_fewer_than_two_pictures_make_no_pair(used: int) -> None:
    labels = Labels(np.zeros(3, np.int64), np.zeros(3, np.int64), ("a",))
    assert not distance_counts(np.zeros((3, 1), np.uint64), np.arange(3) < used, labels).any()


def test_the_curve_of_the_counts_is_that_of_the_pairs() -> None:
    rng, n = np.random.default_rng(5), 40
    codes = rng.integers(0, 2**6, (n, 1), np.uint64)
    labels = Labels(rng.integers(0, 8, n), np.zeros(n, np.int64), ("a",))
    [line] = labels.lines(np.ones(n, np.bool_), by_score(distance_counts(codes, np.ones(n, np.bool_), labels)))
    first, second = np.triu_indices(n, 1)
    true = labels.groups[first] == labels.groups[second]
    distances = hamming(codes, codes)[first, second].astype(np.float64)
    expected = precision_recall(-distances, true)
    assert line.curve is not None
    for field in ("thresholds", "precision", "recall", "matches"):
        assert getattr(line.curve, field).tolist() == getattr(expected, field).tolist()
    assert line.true_pairs == true.sum()
    assert line.counts.matches(-2) == ((distances[true] <= 2).sum(), (distances[~true] <= 2).sum())


def test_a_line_counts_the_pairs_within_its_subset_and_the_others_are_across() -> None:
    labels = Labels.of(rows_of(("g", "a"), ("g", "a"), ("g", "b"), ("h", "b"), ("h", "b"), ("", "b"), ("", "")))
    codes = np.zeros((7, 1), np.uint64)
    used = np.arange(7) != 4
    lines = labels.lines(used, by_score(distance_counts(codes, used, labels)))
    shown = {line.name: (line.pictures, line.compared, line.true_pairs, line.counts.matches(0)) for line in lines}
    assert shown == {
        ALL: (7, 6, 4, (3, 12)),
        "a": (2, 2, 1, (1, 0)),
        "b": (4, 3, 1, (0, 3)),
        "unnamed": (1, 1, 0, (0, 0)),
        ACROSS: (7, 6, 2, (2, 9)),
    }


def test_without_subsets_there_is_one_line() -> None:
    labels = Labels.of(rows_of(("g", ""), ("g", ""), ("", "")))
    codes, everything = np.zeros((3, 1), np.uint64), np.ones(3, np.bool_)
    assert [line.name for line in labels.lines(everything, by_score(distance_counts(codes, everything, labels)))] == [
        ALL
    ]


def test_ours_counts_scored_pairs_at_the_threshold_and_true_pairs_that_were_no_candidates_as_missed() -> None:
    labels = rows_of(("g", "a"), ("g", "a"), ("g", "a"), ("", "a"), ("h", "b"), ("h", "b"), ("", "b"), ("g", "b"))
    scored = [(1, 0, 0.9), (2, 0, 0.4), (3, 2, THRESHOLD), (5, 4, 0.7), (6, 0, 0.8), (6, 5, 0.1)]
    groups = [row.group for row in labels]
    evaluation = evaluation_of(groups, range(8), scored, refused=[7], rows=labels)
    ours = measure_pipeline(evaluation, Labels.of(labels))
    found = {line.name: line_measures(line, ours.threshold) for line in ours.lines}
    # Of 7 true pairs 3 have a score. Descending: 0.9 true, 0.8 not, 0.7 true, 0.5 not, 0.4 true, 0.1 not.
    assert found[ALL] == {
        "pictures": 8, "compared": 7, "true_pairs": 7, "recall": round(2 / 7, 4), "recall_at_p99": round(1 / 7, 4),
        "best_f1": round(2 * 3 / (5 + 7), 4), "wrong_pairs_per_1000_pictures": 250.0,
    }  # fmt: skip
    assert found["a"] == {
        "pictures": 4, "compared": 4, "true_pairs": 3, "recall": round(1 / 3, 4), "recall_at_p99": round(1 / 3, 4),
        "best_f1": round(2 * 2 / (3 + 3), 4), "wrong_pairs_per_1000_pictures": 250.0,
    }  # fmt: skip
    assert found["b"]["recall"] == found["b"]["best_f1"] == found["b"]["recall_at_p99"] == 1.0
    assert (found[ACROSS]["true_pairs"], found[ACROSS]["recall"], found[ACROSS]["best_f1"]) == (3, 0.0, 0.0)
    assert found[ACROSS]["wrong_pairs_per_1000_pictures"] == 125.0


def test_metrics_that_need_a_true_pair_are_null_without_one() -> None:
    labels = Labels.of(rows_of(("g", "a"), ("g", "a"), ("", "b"), ("", "b")))
    everything = np.ones(4, np.bool_)
    lines = labels.lines(everything, by_score(distance_counts(np.zeros((4, 1), np.uint64), everything, labels)))
    found = {line.name: line_measures(line, 0) for line in lines}
    assert found["b"]["wrong_pairs_per_1000_pictures"] == 500.0
    assert (found["b"]["best_f1"], found["b"]["recall_at_p99"], found["b"]["recall"]) == (None, None, None)


def hashed_by_the_package(method: str, pixels: Pixels) -> tuple[np.ndarray, int]:
    import imagehash
    import pdqhash

    return pdqhash.compute(pixels) if method == "PDQ" else (imagehash.phash(Image.fromarray(pixels)).hash.ravel(), 100)


@pytest.mark.parametrize(("method", "distance"), [("PDQ", 31), ("pHash", 10)])
def test_a_hash_is_measured_over_all_pairs_as_its_package_measures_them(
    planted: list[Row], method: str, distance: int
) -> None:
    hashes = []
    for row in planted[:-1]:
        with Image.open(row.file) as picture:
            hashes.append(hashed_by_the_package(method, np.asarray(picture.convert("RGB"))))
    for measured in measure_hash(method, PEERS[method](), planted, Labels.of(planted), ImageSettings()):
        least = 50 if "quality" in measured.setting else 0
        found = {True: [0, 0], False: [0, 0]}
        for i, j in combinations([n for n, (_, quality) in enumerate(hashes) if quality >= least], 2):
            same = bool(planted[i].group) and planted[i].group == planted[j].group
            apart = int((hashes[i][0] != hashes[j][0]).sum())
            found[same][0] += apart <= distance
            found[same][1] += 1
        line = measured.lines[0]
        assert line.counts.matches(measured.threshold) == (found[True][0], found[False][0])
        assert (int(line.counts.true.sum()), int(line.counts.other.sum())) == (found[True][1], found[False][1])
        # Four groups of three, one of them with the broken file, and the pages.
        assert line.true_pairs == 3 * 3 + 6 + 1
        assert measured.ms_per_picture > 0


def test_pdq_leaves_out_blank_pages_and_their_pairs_count_as_missed(planted: list[Row]) -> None:
    recommended, every = measure_hash("PDQ", PEERS["PDQ"](), planted, Labels.of(planted), ImageSettings())
    assert (recommended.setting, every.setting) == ("distance ≤ 31, quality ≥ 50", "distance ≤ 31")
    blank, compared = (
        next(line for line in measured.lines if line.name == "blank") for measured in (recommended, every)
    )
    assert (blank.pictures, blank.compared, blank.true_pairs) == (4, 0, 1)
    assert line_measures(blank, recommended.threshold)["recall"] == 0.0
    assert (compared.compared, int(compared.counts.true.sum())) == (3, 1)


def test_an_unreadable_picture_has_no_hash(planted: list[Row]) -> None:
    hashes = hash_rows(planted, PEERS["pHash"](), ImageSettings())
    assert np.flatnonzero(hashes.qualities == UNREADABLE).tolist() == [len(planted) - 1]
    assert hashes.codes.shape == (len(planted), 1)
    assert len(set(hashes.codes[:3:3, 0].tolist() + hashes.codes[3:12:3, 0].tolist())) == len(FILES)


def test_a_fault_of_a_hash_is_raised(planted: list[Row]) -> None:
    def broken(_: Pixels) -> tuple[np.ndarray, int]:
        raise ArithmeticError("hash")

    with pytest.raises(ArithmeticError):
        hash_rows(planted, HashPeer(64, 10, (0,), broken), ImageSettings())


@pytest.mark.parametrize(("method", "package"), [("PDQ", "pdqhash"), ("pHash", "imagehash")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, method: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"{package} is not installed: pip install 'neardup-platform\[bench\]'"):
        PEERS[method]()


def test_the_plot_marks_the_operating_point_and_an_unwritable_one_is_reported(tmp_path: Path) -> None:
    rows = rows_of(("g", ""), ("g", ""), ("", ""))
    labels, used = Labels.of(rows), np.ones(3, np.bool_)
    lines = labels.lines(used, by_score(distance_counts(np.array([[0], [1], [3]], np.uint64), used, labels)))
    measured = [Measured(method, "distance ≤ 1", -1, lines, 1.0) for method in (accuracy.OURS, "PDQ")]
    draw_curves(measured, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
    with pytest.raises(SetupError, match="name another file"):
        draw_curves(measured, tmp_path / "absent" / "curves.png")


@pytest.fixture(scope="module")
def two_manifests(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Groups of sample pictures with distractors, and distractors of their own."""
    folder = tmp_path_factory.mktemp("manifests")
    first = labelled_samples(folder / "first", groups=6, distractors=4)
    second = folder / "second.csv"
    with second.open("w", newline="") as out:
        csv.writer(out).writerows(
            [("file", "group", "subset"), *((str(SAMPLES / f), "", "photos") for f in ("wine-glass.jpg", "sheep.jpg"))]
        )
    return [str(first), str(second)]


@pytest.mark.slow
def test_the_command_measures_every_method_on_all_manifests_and_draws_a_plot(
    two_manifests: list[str], tmp_path: Path
) -> None:
    plot = tmp_path / "curves.png"
    options = ["bench", "accuracy", *two_manifests, "--plot", str(plot), "--json"]
    answer = CliRunner().invoke(cli, options, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    result = json.loads(answer.stdout)
    assert (result["bench"], result["settings"]["pictures"]) == ("accuracy", 24)
    assert result["settings"]["trained_on_share"] == 0
    rows = {(row["method"], row["setting"].split(", ")[-1], row["subset"]): row for row in result["rows"]}
    assert {subset for *_, subset in rows} == {ALL, "alone", "copies", "photos", ACROSS}
    assert {method for method, *_ in rows} == {"neardup", "PDQ", "pHash"}
    assert len(rows) == len(result["rows"]) == 4 * 5
    for (*_, subset), row in rows.items():
        assert row["true_pairs"] == (18 if subset in (ALL, "copies") else 0)
        assert ("ms_per_picture" in row) == (subset == ALL)
    ours = next(row for row in result["rows"] if row["method"] == "neardup")
    assert (ours["recall"], ours["wrong_pairs_per_1000_pictures"]) == (1.0, 0.0)
    assert rows["pHash", "distance ≤ 10", ALL]["recall"] > 0.8
    assert plot.stat().st_size > 10_000


@pytest.mark.slow
def test_without_the_packages_ours_is_measured_and_the_table_says_what_to_install(
    two_manifests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("pdqhash", "imagehash"):
        monkeypatch.setitem(sys.modules, package, None)
    answer = CliRunner().invoke(cli, ["bench", "accuracy", *two_manifests], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    lines = answer.stdout.splitlines()
    assert lines[0].split()[:3] == ["subset", "method", "setting"]
    assert "neardup" in lines[1]
    assert lines[-2:] == [
        "PDQ: pdqhash is not installed: pip install 'neardup-platform[bench]'",
        "pHash: imagehash is not installed: pip install 'neardup-platform[bench]'",
    ]
