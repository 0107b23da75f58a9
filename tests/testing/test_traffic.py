"""Claims about the generator of traffic."""

from collections import Counter

import numpy as np
import pytest

from neardup_platform.testing.traffic import DIM, TRAFFIC_MODELS, Traffic, day_curve, joined


def test_a_seed_gives_the_same_pictures_whatever_the_pieces() -> None:
    at_once, in_pieces = Traffic(seed=3), Traffic(seed=3)
    whole = {image_id: vector.tobytes() for image_id, vector in at_once.pictures(300)}
    assert len(whole) == 300
    assert {i: v.tobytes() for i, v in Traffic(seed=3).pictures(300)} == whole
    assert {i for part in (100, 200) for i, _ in in_pieces.pictures(part)} == set(whole)


def test_there_is_most_at_four_in_the_afternoon_and_a_tenth_of_it_at_four_in_the_morning() -> None:
    curve = [day_curve(hour) for hour in range(24)]
    assert (curve.index(max(curve)), curve.index(min(curve))) == (16, 4)
    assert (max(curve), min(curve)) == pytest.approx((1.0, 0.1))


def test_clusters_have_a_long_tail_and_copies_are_near_their_picture_alone() -> None:
    vectors = np.array([vector for _, vector in Traffic().pictures(3_000)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors.T > 0.85
    sizes = Counter(near.argmax(axis=1).tolist())
    assert 0.35 < len(sizes) / 3_000 < 0.55, "about as many pictures are new as the generator says"
    assert max(sizes.values()) > 10 * np.mean(list(sizes.values()))


def test_spam_is_one_picture_and_another_model_moves_them_all() -> None:
    traffic = Traffic()
    spam = np.array([vector for image_id, vector in traffic.pictures(0, spam=50) if image_id.startswith("spam-")])
    assert len(spam) == 50
    assert np.corrcoef(spam).min() > 0.8
    usual, moved = (
        np.mean([vector for _, vector in Traffic().pictures(500, shift=shift)], axis=0) for shift in (0, 0.5)
    )
    assert np.linalg.norm(moved - usual) == pytest.approx(0.5 * np.sqrt(DIM), rel=0.3)


def test_a_picture_has_both_embeddings_of_the_models_of_traffic() -> None:
    ((image_id, vector),) = Traffic().pictures(1)
    image = joined(image_id, vector, 5)
    assert (image.lsh.model_version, image.pair.model_version) == tuple(m.version for m in TRAFFIC_MODELS.values())
    assert (len(image.lsh.vector), image.event_time_ms) == (DIM, 5)
