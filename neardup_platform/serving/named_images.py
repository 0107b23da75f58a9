"""Which of the images that labels or overrides name are in some clusters, according to the worker's store."""

from collections.abc import Iterator, Mapping

from neardup_platform.store.view import StoreView


def named_inside(store: StoreView, sizes: Mapping[str, int], named: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Looks them up from the smaller side: reads the records of those named, or the members of the clusters.

    Args:
        sizes: number of members by head.
        named: by image id.

    Yields:
        Head and image id.
    """
    if not named:
        return
    if sum(sizes.values()) < len(named):
        yield from ((head, image_id) for head in sizes for _, image_id in store.members.all(head) if image_id in named)
        return
    for image_id, record in zip(named, store.images.find_many(list(named)), strict=True):
        if record is not None and record.head in sizes:
            yield record.head, image_id
