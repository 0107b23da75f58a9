"""Claims about the clusters that stand for all of them."""

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.operations.sampling import sample_clusters

SIZES = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 20), max_size=40)


@given(SIZES, st.integers(1, 200), st.randoms(use_true_random=False))
def test_whole_clusters_are_chosen_that_hold_just_enough_in_any_order(
    sizes: dict[str, int], images: int, order
) -> None:
    listed = list(sizes.items())
    chosen = sample_clusters(listed, images)
    held = sum(sizes[head] for head in chosen)
    assert held >= min(images, sum(sizes.values()))
    assert all(held - sizes[chosen[0]] < images for _ in chosen[:1])
    order.shuffle(listed)
    assert set(sample_clusters(listed, images)) == set(chosen)


def test_a_larger_sample_holds_a_smaller_one_and_is_not_the_first_by_name() -> None:
    sizes = [(f"{number:04d}", 1) for number in range(1_000)]
    small, large = set(sample_clusters(sizes, 100)), set(sample_clusters(sizes, 200))
    assert small < large
    assert (len(small), len(large)) == (100, 200)
    assert 30 < sum(head < "0500" for head in small) < 70
