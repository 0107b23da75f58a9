"""Claims about which images of a segment are new, and about reading its chunks ahead."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.records import JoinedImage
from neardup_platform.stream.segments.chunks_ahead import Chunk, ChunksAhead
from neardup_platform.stream.segments.fresh_images import fresh_images
from neardup_platform.testing import InMemoryWorker, families

IMAGES = families(5, 4)


def test_an_image_in_flight_is_known_or_conflicts_like_a_stored_one(tmp_path: Path) -> None:
    other = replace(IMAGES[3], pair=replace(IMAGES[3].pair, vector=-IMAGES[3].pair.vector))
    in_flight = {image.image_id: image for image in (IMAGES[2], other)}
    with InMemoryWorker(tmp_path) as worker:
        worker.decide(IMAGES[:2])
        fresh, fates = fresh_images(worker.store, IMAGES[:6], in_flight.get)
    assert fresh == IMAGES[4:6]
    assert fates == {"decided": 2, "known": 3, "conflicting": 1}


def test_chunks_are_read_ahead_in_their_order_and_an_error_comes_in_its_place() -> None:
    def chunks() -> Iterator[Chunk]:
        for end in range(1, 10):
            yield end, [IMAGES[end]]
        raise BadArtefact("damaged")

    ahead = ChunksAhead(chunks())
    taken: list[Chunk | None] = [ahead.take() for _ in range(9)]
    assert taken == [(end, [IMAGES[end]]) for end in range(1, 10)]
    with pytest.raises(BadArtefact, match="damaged"):
        ahead.take()
    ahead.close()
    empty: list[tuple[int, list[JoinedImage]]] = []
    assert ChunksAhead(iter(empty)).take() is None
