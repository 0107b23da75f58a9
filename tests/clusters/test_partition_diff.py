"""The difference between two partitions, against one that is computed from whole clusters."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.clusters.partition_diff import HeadChange, compare_partitions, merge_heads

Heads = dict[str, str]


@st.composite
def partitions(draw: st.DrawFn) -> Heads:
    """Image → head, where a head is a member of its cluster."""
    ids = draw(st.sets(st.text("abé🙂", min_size=1, max_size=3), max_size=12))
    blocks: defaultdict[int, list[str]] = defaultdict(list)
    for image_id in sorted(ids):
        blocks[draw(st.integers(0, 4))].append(image_id)
    heads: Heads = {}
    for members in blocks.values():
        heads |= dict.fromkeys(members, draw(st.sampled_from(members)))
    return heads


def merged(before: Heads, after: Heads) -> list[HeadChange]:
    return list(merge_heads(sorted(before.items()), sorted(after.items())))


def spread(heads: Heads, other: Heads) -> dict[str, set[str]]:
    """For each cluster, the clusters of the other side that have its images."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for image_id in heads.keys() & other.keys():
        found[heads[image_id]].add(other[image_id])
    return found


@given(partitions(), partitions())
def test_it_counts_what_whole_clusters_show(before: Heads, after: Heads) -> None:
    found = compare_partitions(merged(before, after), examples=100)
    both = before.keys() & after.keys()
    assert found.images == len(before.keys() | after.keys())
    assert {c.image_id for c in found.moved_examples} == {i for i in both if before[i] != after[i]}
    assert {c.image_id for c in found.new_examples} == after.keys() - before.keys()
    assert {c.image_id for c in found.gone_examples} == before.keys() - after.keys()
    split = {head for head, others in spread(before, after).items() if len(others) > 1}
    union = {head for head, others in spread(after, before).items() if len(others) > 1}
    assert {c.head for c in found.split_examples} == split
    assert {c.head for c in found.merged_examples} == union
    counts = (found.moved, found.new, found.gone, found.split, found.merged)
    shown = (
        found.moved_examples,
        found.new_examples,
        found.gone_examples,
        found.split_examples,
        found.merged_examples,
    )
    assert counts == tuple(map(len, shown))


@given(partitions(), partitions())
def test_a_merge_lists_every_image_once_in_order(before: Heads, after: Heads) -> None:
    found = merged(before, after)
    assert [change.image_id for change in found] == sorted(before.keys() | after.keys())
    assert all((c.head_before, c.head_after) == (before.get(c.image_id), after.get(c.image_id)) for c in found)


@given(partitions(), partitions())
def test_images_left_out_count_as_unmoved(before: Heads, after: Heads) -> None:
    everything = merged(before, after)
    moved = [change for change in everything if change.head_before != change.head_after]
    whole, part = compare_partitions(everything), compare_partitions(moved)
    assert (part.moved, part.new, part.gone, part.split, part.merged) == (
        whole.moved,
        whole.new,
        whole.gone,
        whole.split,
        whole.merged,
    )


def test_examples_are_bounded_and_begin_with_the_largest() -> None:
    changes = [(f"{n:03d}", "000", "000" if n == 0 else f"{n - n % 10 + 1:03d}") for n in range(100)]
    found = compare_partitions(changes, examples=3)
    assert (found.moved, len(found.moved_examples)) == (99, 3)
    (split,) = found.split_examples
    assert (split.head, split.images, split.part_count, len(split.parts)) == ("000", 99, 10, 8)
    assert compare_partitions(changes, examples=0).split == 1
