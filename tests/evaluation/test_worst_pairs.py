"""Which pairs are shown as the worst, and their evidence."""

import io

import numpy as np
from PIL import Image

from neardup_platform.evaluation.feature_evidence import evidence_of
from neardup_platform.evaluation.picture_sheet import THUMBNAIL_PX, draw_pairs
from neardup_platform.evaluation.worst_pairs import EvaluatedPair, mixed_clusters, worst_false_positives, worst_misses
from neardup_platform.scoring.features import Block
from neardup_platform.settings import ImageSettings
from tests.evaluation.hand_made import evaluation_of
from tests.evaluation.labelled_samples import labelled_samples
from tests.evaluation.test_metrics import GROUPS, HEADS, SCORED

BLOCKS = [Block("shape", 0, 8, "cosine")]


def test_false_positives_are_pairs_of_different_groups_highest_score_first() -> None:
    worst = worst_false_positives(evaluation_of(GROUPS, HEADS, SCORED))
    assert [(pair.later, pair.earlier) for pair in worst] == [(6, 0), (7, 6)]
    assert [(pair.matched, pair.together) for pair in worst] == [(True, True), (False, False)]
    assert worst[0].heads == (0, 0)


def test_misses_are_separated_true_pairs_those_never_compared_first() -> None:
    worst = worst_misses(
        evaluation_of(["a", "a", "a", "b", "b"], [0, 1, 2, 3, 3], [(1, 0, 0.4), (2, 1, 0.3), (4, 3, 0.6)])
    )
    assert [(pair.later, pair.earlier, pair.score is None) for pair in worst] == [
        (2, 0, True),
        (2, 1, False),
        (1, 0, False),
    ]


def test_an_unreadable_picture_is_not_a_miss() -> None:
    assert worst_misses(evaluation_of(["a", "a"], [0, 1], [], refused=[1])) == []


def test_one_group_does_not_fill_the_list() -> None:
    groups = ["big"] * 8 + ["small"] * 2
    worst = worst_misses(evaluation_of(groups, list(range(10)), []))
    assert [groups[pair.later] for pair in worst].count("big") == 3
    assert [groups[pair.later] for pair in worst].count("small") == 1
    assert len(worst_misses(evaluation_of([f"g{n // 2}" for n in range(100)], list(range(100)), []), most=7)) == 7


def test_mixed_clusters_come_worst_first_with_their_rows_by_group() -> None:
    groups = ["a", "a", "b", "", "c", "d", "d", "", "", ""]
    heads = [0, 0, 0, 0, 4, 4, 4, 4, 4, 9]
    two_of_three = mixed_clusters(evaluation_of(groups, heads, []))
    assert [(cluster.head, len(cluster.groups)) for cluster in two_of_three] == [(4, 4), (0, 3)]
    assert two_of_three[0].groups[0] == (5, 6)


def test_evidence_follows_the_vectors() -> None:
    evaluation = evaluation_of(["a"] * 2 + [f"{n}" for n in range(20)], list(range(22)), [])
    images = evaluation.embedded.images
    for half in ("lsh", "pair"):
        vectors = [getattr(images[n], half).vector for n in range(22)]
        vectors[1][:] = vectors[0] + 0.1
    pairs = [(a, b, 0.5) for a in range(22) for b in range(a)]
    evaluation = evaluation_of(["a"] * 2 + [f"{n}" for n in range(20)], list(range(22)), pairs)
    for n, image in images.items():
        evaluation.embedded.images[n] = image
    alike, apart = evidence_of(
        evaluation, [EvaluatedPair(1, 0, 0.5, 0.5, (1, 0)), EvaluatedPair(9, 4, 0.5, 0.5, (9, 4))], BLOCKS
    )
    assert alike[0].weight > 0
    assert alike[0].value > 0.9
    assert apart
    assert all(each.weight < 0 for each in apart)


def test_the_sheet_shows_every_pair_even_if_pictures_are_gone(tmp_path) -> None:
    manifest = labelled_samples(tmp_path, groups=3, distractors=0)
    from neardup_platform.evaluation.manifest import read_manifest

    rows = read_manifest(manifest)
    rows[3].file.unlink()
    pairs = [EvaluatedPair(later, later - 1, 0.25, 0.5, (later, later - 1)) for later in range(1, 7)]
    sheets = [Image.open(io.BytesIO(draw_pairs(pairs[:n], rows, ImageSettings()))) for n in (0, 1, 6)]
    assert [sheet.format for sheet in sheets] == ["PNG"] * 3
    assert sheets[2].width == 4 * sheets[1].width
    assert sheets[2].height == 2 * sheets[1].height
    assert sheets[1].width > 2 * THUMBNAIL_PX
    assert np.asarray(sheets[1].convert("L")).std() > 20
