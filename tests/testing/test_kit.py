"""Claims about the test kit that users get with the package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.testing import (
    LSH_DIM,
    InMemoryWorker,
    eventually,
    families,
    image,
    small_pipeline,
)


def test_the_kit_imports_no_test_framework_and_no_tensorflow() -> None:
    code = (
        "import sys, neardup_platform.testing; "
        "print([name for name in ('pytest', 'hypothesis', 'tensorflow', 'keras') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_copies_share_a_cluster_and_families_do_not(tmp_path: Path) -> None:
    with InMemoryWorker(tmp_path) as worker:
        worker.decide(families(count=5, copies=3))
        heads = worker.heads()
    assert len(heads) == 20
    for family in range(5):
        assert len({heads[f"{family}/{copy}"] for copy in range(4)}) == 1
    assert len(set(heads.values())) == 5


def test_a_worker_opened_over_an_earlier_ones_home_continues_where_that_one_stopped(tmp_path: Path) -> None:
    images = families(count=4, copies=4)
    with InMemoryWorker(tmp_path / "one") as worker:
        worker.decide(images)
        expected = worker.decisions()
    with InMemoryWorker(tmp_path / "two") as first:
        first.decide(images[:11])
    with InMemoryWorker(tmp_path / "two") as second:
        second.decide(images[11:])
        assert second.decisions() == expected


def test_corrections_act_as_those_of_the_stream_worker(tmp_path: Path) -> None:
    with InMemoryWorker(tmp_path) as worker:
        worker.decide(families(count=2, copies=3))
        worker.override("alone", "0/3")
        worker.forget("1/2")
        heads = worker.heads()
    assert heads["0/3"] == "0/3"
    assert "1/2" not in heads


def test_a_command_that_is_committed_and_not_applied_takes_effect_with_a_restart(tmp_path: Path) -> None:
    with InMemoryWorker(tmp_path) as worker:
        worker.decide(families(count=1, copies=3))
        worker.run_command("forget", apply=False, image_id="0/1")
        assert "0/1" in worker.corpus.ids()
    with InMemoryWorker(tmp_path) as restarted:
        assert "0/1" not in restarted.corpus.ids()


def test_a_preview_agrees_with_the_decision_and_changes_nothing() -> None:
    pipeline, images = small_pipeline(), families(count=6, copies=4, noise=0.25)
    pipeline.decide(images[:-1], 1, 0)
    newest = images[-1]
    lsh, pair = newest.lsh.vector.astype(np.float16), newest.pair.vector.astype(np.float16)
    preview = pipeline.preview(ImageVectors(lsh[None], pair[None]))
    assert len(pipeline.corpus) == len(images) - 1
    (batch,) = pipeline.decide([newest], len(images), 0)
    (decision,) = batch.decisions
    assert (preview.ruling.head_id or newest.image_id) == decision.head
    assert preview.ruling.score == decision.score
    assert preview.ruling.head_score == decision.head_score
    assert preview.ruling.candidates == decision.candidates
    assert preview.ruling.bridges == decision.bridges


def test_eventually_returns_what_was_found() -> None:
    attempts = iter([None, 0, "found"])
    assert eventually(lambda: next(attempts)) == "found"


def test_eventually_fails_with_the_reason() -> None:
    with pytest.raises(AssertionError, match="not within 0 s: the queue is full"):
        eventually(lambda: False, "the queue is full", timeout_s=0)
    with pytest.raises(AssertionError, match="3 left"):
        eventually(lambda: False, lambda: "3 left", timeout_s=0)


def test_an_image_has_the_vectors_it_is_given() -> None:
    made = image("a", [1.0] * LSH_DIM, time_ms=5)
    assert made.lsh.vector.tolist() == [1.0] * LSH_DIM
    assert (made.image_id, made.event_time_ms, made.source_uri) == ("a", 5, "s3://pictures/a")
