"""Choosing tables and bits: brute force gives the same counts, and nothing cheaper reaches the target."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from neardup_platform.cli import cli
from neardup_platform.errors import PermanentError, SetupError
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.learning.terms.matplotlib_tuning import draw_tuning
from neardup_platform.learning.terms.term_sample import ALONE, TermSample, embed_sample
from neardup_platform.learning.terms.term_space_measures import measure_space
from neardup_platform.learning.terms.term_truth import Truth, find_truth
from neardup_platform.learning.terms.tune_terms import Target, Tuned, choose, tune, write_space
from neardup_platform.settings import ImageSettings
from neardup_platform.terms.hyperplanes import TermSpace, load_term_space

PICTURES = sorted((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))
DIM, FAMILIES, COPIES, OTHERS = 24, 50, 3, 300
IN_SAMPLE, LARGE = 1, 50_000
KS = (1, 3, 10, 50)


def gaussian_sample() -> TermSample:
    """Families of noisy copies among unrelated vectors, in random order."""
    rng = np.random.default_rng(3)
    centres = np.repeat(rng.standard_normal((FAMILIES, DIM)), COPIES, axis=0)
    members = centres + rng.uniform(0.2, 1.0, (len(centres), 1)) * rng.standard_normal(centres.shape)
    vectors = np.concatenate([members, rng.standard_normal((OTHERS, DIM))]).astype(np.float32)
    groups = np.concatenate([np.repeat(np.arange(FAMILIES), COPIES), np.full(OTHERS, ALONE)])
    order = rng.permutation(len(vectors))
    vectors, groups = vectors[order], groups[order]
    return TermSample("test", vectors, groups, vectors[groups == ALONE])


SAMPLE = gaussian_sample()
SPACE = fit_term_space(SAMPLE.fitted, "test", tables=70, bits=4, whitening=0.0, seed=2, cells=1)


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(SAMPLE, Target(0.5, LARGE, 2_500), lambda _: None)


def truth_of(images: int, space: TermSpace = SPACE) -> Truth:
    return find_truth(space.hash(SAMPLE.vectors).unit, SAMPLE.groups, images)


def bits_of(space: TermSpace) -> NDArray[np.bool_]:
    """The sign bits computed from the hyperplanes rather than from the packed signatures: [n, bits, tables]."""
    unit = space.hash(SAMPLE.vectors).unit
    return np.asarray(unit @ space.directions > 0).reshape(len(unit), space.bits, space.tables)


def pairs_of_groups() -> list[tuple[int, int]]:
    groups = SAMPLE.groups.tolist()
    members = [i for i, group in enumerate(groups) if group != ALONE]
    return [(i, j) for i in members for j in members if i != j and groups[i] == groups[j]]


def ranked(costs: NDArray[np.float64], query: int) -> list[int]:
    return [j for _, j in sorted((cost, j) for j, cost in enumerate(costs.tolist()) if j != query)]


def recall_by_brute_force(costs: NDArray[np.float64], k: int) -> float:
    unit = SPACE.hash(SAMPLE.vectors).unit
    cosines = unit @ unit.T
    pairs = [(i, j) for i, j in pairs_of_groups() if j in ranked(-cosines[i], i)[:100]]
    return float(np.mean([j in ranked(costs[i], i)[:k] for i, j in pairs]))


def test_measured_recall_equals_brute_force() -> None:
    measured = measure_space(SPACE, SAMPLE.vectors, truth_of(IN_SAMPLE), KS)
    flat = bits_of(SPACE).reshape(len(SAMPLE.vectors), -1).astype(np.float64)
    costs = flat @ (1 - flat).T + (1 - flat) @ flat.T
    expected = [recall_by_brute_force(costs, k) for k in KS]
    assert [within.recall for within in measured.within] == pytest.approx(expected)
    assert [within.sample_recall for within in measured.within] == pytest.approx(expected)
    assert expected[0] < expected[-1] < 1


def test_recall_by_equal_terms_and_pairs_with_a_term_equal_brute_force() -> None:
    measured = measure_space(SPACE, SAMPLE.vectors, truth_of(IN_SAMPLE), KS)
    bits = bits_of(SPACE)
    overlaps = np.array([(bits == query).all(axis=1).sum(axis=1) for query in bits])
    expected = [recall_by_brute_force(-overlaps.astype(np.float64), k) for k in KS]
    assert [within.overlap_recall for within in measured.within] == pytest.approx(expected)
    assert measured.sharing_a_term == pytest.approx(np.mean([overlaps[i, j] > 0 for i, j in pairs_of_groups()]))


def test_mean_overlap_of_unrelated_pairs_matches_the_error_maths(tuned: Tuned) -> None:
    for row in tuned.rows:
        assert row.postings == pytest.approx(row.postings_expected, rel=0.1, abs=0.01), (row.tables, row.bits)


def test_recall_in_a_large_corpus_matches_the_error_maths(tuned: Tuned) -> None:
    of_a_hundred = [row.within[0] for row in tuned.rows]
    assert min(within.recall for within in of_a_hundred) < 0.95
    for within in of_a_hundred:
        assert within.recall == pytest.approx(within.predicted_recall, abs=0.06)


def test_extrapolation_to_slightly_more_than_the_sample_agrees_with_the_sample() -> None:
    (within,) = measure_space(SPACE, SAMPLE.vectors, truth_of(len(SAMPLE.vectors) + 1), (10,)).within
    assert within.recall == pytest.approx(within.sample_recall, abs=0.05)
    assert within.overlap_recall == pytest.approx(within.sample_overlap_recall, abs=0.05)


def test_exhaustive_search_finds_fewer_pairs_in_a_larger_corpus() -> None:
    reached = [int(truth_of(images).within.sum()) for images in (IN_SAMPLE, 5_000, LARGE, 500_000)]
    assert reached == sorted(reached, reverse=True)
    assert reached[0] > reached[-1] > 0


def test_a_corpus_too_large_for_the_pairs_is_refused_with_the_maximum() -> None:
    most = 10 * int(truth_of(IN_SAMPLE).unrelated.sum())
    assert truth_of(most).extrapolated
    with pytest.raises(SetupError, match=rf"at most {most:,}.*--images"):
        truth_of(most + 1)


def test_a_looser_target_never_costs_more_bytes(tuned: Tuned) -> None:
    best = max(within.recall for row in tuned.rows for within in row.within if within.k <= 200)
    targets = [replace(tuned.target, recall=float(r), most_candidates=200) for r in np.linspace(0.2, best, 200)]
    costs = [choose(tuned.rows, target)[0].bytes_per_image for target in targets]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_the_choice_reaches_the_target_and_nothing_cheaper_does(tuned: Tuned) -> None:
    target = Target(0.97, LARGE, 100)
    chosen, candidates = choose(tuned.rows, target)
    assert candidates.recall >= 0.97
    assert candidates.k <= 100
    cheaper = [row for row in tuned.rows if row.bytes_per_image < chosen.bytes_per_image]
    assert cheaper
    assert all(row.within[0].recall < 0.97 for row in cheaper)


def test_an_impossible_target_is_refused_with_the_best_found(tuned: Tuned) -> None:
    best = max((row.within[0].recall, -row.bytes_per_image, f"{row.tables}×{row.bits}") for row in tuned.rows)
    assert best[0] < 1
    with pytest.raises(PermanentError, match=rf"{best[2]} \({-best[1]} bytes.*{best[0] - 5e-5:.3f}.*--recall"):
        choose(tuned.rows, Target(1.0, LARGE, 100))


def test_the_chosen_space_has_the_measured_signatures_and_cells(tuned: Tuned) -> None:
    assert tuned.space.cells > 1
    again = measure_space(tuned.space, SAMPLE.vectors, truth_of(LARGE, tuned.space))
    assert again == tuned.chosen
    assert tuned.chosen.bytes_per_image == 8 * (tuned.space.words + 4) + 4


def test_every_row_can_be_drawn(tuned: Tuned) -> None:
    assert draw_tuning(tuned).startswith(b"\x89PNG")


def test_a_space_is_written_atomically_and_an_unwritable_path_is_named(tuned: Tuned, tmp_path: Path) -> None:
    write_space(tuned.space, tmp_path / "new" / "space.npz")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["space.npz"]
    assert load_term_space(tmp_path / "new" / "space.npz").version == tuned.space.version
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"space\.npz"):
        write_space(tuned.space, tmp_path / "file" / "space.npz")


@pytest.fixture(scope="module")
def embedders() -> tuple[Embedder, Embedder]:
    return load_embedders(ImageSettings())


def manifest_of(folder: Path, name: str, lines: list[str]) -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def sample_of(manifest: Path, diverse: Path | None, embedders: tuple[Embedder, Embedder]) -> TermSample:
    return embed_sample(manifest, diverse, embedders, ImageSettings(), lambda _: None)


def test_unlabelled_pictures_are_evaluated_with_copies_of_one_half_and_fitted_to_the_other(
    tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    sample = sample_of(manifest_of(tmp_path, "m.csv", ["file", *map(str, PICTURES[:64])]), None, embedders)
    assert len(sample.fitted) == 32
    assert sorted(np.bincount(sample.groups[sample.groups != ALONE]).tolist())[-32:] == [3] * 32
    assert np.array_equal(sample.fitted, sample.vectors[sample.groups == ALONE])


def test_diverse_pictures_are_fitted_to_and_searched_among(
    tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    labelled = manifest_of(
        tmp_path, "m.csv", ["file,group", *(f"{p},{'ab'[i % 2]}" for i, p in enumerate(PICTURES[:4]))]
    )
    diverse = manifest_of(tmp_path, "d.csv", ["file", *map(str, PICTURES[4:40])])
    sample = sample_of(labelled, diverse, embedders)
    assert len(sample.fitted) == 36
    assert np.array_equal(sample.vectors[4:], sample.fitted)
    assert sample.groups.tolist() == [0, 1, 0, 1] + [ALONE] * 36
    with pytest.raises(SetupError, match=r"m\.csv has 0 pictures .*--diverse"):
        sample_of(labelled, None, embedders)


@pytest.mark.parametrize(
    ("rows", "says"), [(["a.jpg,x"], "a.jpg"), ([f"{PICTURES[0]},x", f"{PICTURES[1]},y"], "no near-duplicates")]
)
def test_an_unusable_manifest_is_refused(
    rows: list[str], says: str, tmp_path: Path, embedders: tuple[Embedder, Embedder]
) -> None:
    with pytest.raises(SetupError, match=says):
        sample_of(manifest_of(tmp_path, "m.csv", ["file,group", *rows]), None, embedders)


@pytest.mark.slow
def test_the_command_writes_the_chosen_space_and_says_how_to_use_it(tmp_path: Path) -> None:
    manifest, out = manifest_of(tmp_path, "m.csv", ["file", *map(str, PICTURES)]), tmp_path / "space.npz"
    arguments = ["tune", str(manifest), "--recall", "0.9", "--images", "20000", "--out", str(out)]
    answer = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    space = load_term_space(out)
    assert answer["version"] == space.version
    assert (answer["chosen"]["tables"], answer["chosen"]["bits"]) == (space.tables, space.bits)
    assert answer["candidates"]["recall"] >= 0.9
    assert len(answer["rows"]) == 24
    shown = CliRunner().invoke(cli, arguments).stdout
    (marked,) = [line for line in shown.splitlines() if line.startswith(">")]
    assert f"{space.tables}x{space.bits}" in marked
    assert f'terms.space = "{out}"' in shown


def test_a_file_that_is_not_an_npz_is_a_usage_error(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "m.csv", ["file"])
    answer = CliRunner().invoke(cli, ["tune", str(manifest), "--out", str(tmp_path / "space.bin")])
    assert answer.exit_code == 2
    assert ".npz" in answer.output
