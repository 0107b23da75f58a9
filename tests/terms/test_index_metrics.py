"""Claims about the metrics and log lines of the term index."""

import logging
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.terms.mmap_segment import PAGE
from tests.terms.sealing_process import BLOCK_IMAGES, IMAGES
from tests.terms.test_segments import HASHED, filled, full_disk, opened, restore_missing, segment_files


def test_metrics_count_images_segments_and_bytes_on_disk(tmp_path: Path) -> None:
    index = filled(tmp_path)
    metrics = index.metrics()
    files = segment_files(tmp_path)
    assert metrics["index_images"] == IMAGES
    assert metrics["index_segments"] == len(files)
    on_disk = sum(path.stat().st_size for path in files)
    assert on_disk - 6 * PAGE * len(files) <= metrics["index_bytes"] <= on_disk
    assert metrics["index_problem"] == 0
    index.close()


def test_an_index_in_memory_has_no_bytes_on_disk() -> None:
    index = filled(None)
    assert index.metrics()["index_bytes"] == 0
    assert index.metrics()["index_images"] == IMAGES
    index.close()


def test_sealing_drops_retired_images_from_the_count(tmp_path: Path) -> None:
    index = opened(tmp_path)
    for first in range(0, IMAGES, BLOCK_IMAGES):
        index.retire(index.add(HASHED[first : first + BLOCK_IMAGES])[4:])
    index.flush()
    sealed_blocks = IMAGES // BLOCK_IMAGES - 2
    assert index.metrics()["index_images"] == 4 * sealed_blocks + 2 * BLOCK_IMAGES
    index.close()


def test_a_full_disk_shows_in_a_metric_and_a_log_line_until_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Writing resumes with the next images, before the next block is sealed."""
    index = filled(tmp_path, 160)
    with full_disk(2 * PAGE):
        for first in range(160, 320, 8):
            index.add(HASHED[first : first + 8])
        index.flush()
        assert index.metrics()["index_problem"] == 1
        assert any("free some disk" in record.message for record in caplog.records if record.levelno == logging.ERROR)
    segments_before = index.metrics()["index_segments"]
    index.add(HASHED[320:321])
    index.flush()
    assert index.metrics()["index_problem"] == 0
    assert index.metrics()["index_segments"] < segments_before
    assert caplog.records[-1].message == f"the term index is written to {tmp_path} again"
    index.close()
    again = opened(tmp_path)
    restore_missing(again, upto=321)
    assert np.array_equal(again.search(HASHED[:1], 1, 0).ordinals, [[0]])
    again.close()
