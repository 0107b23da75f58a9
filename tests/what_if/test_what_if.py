"""What-ifs on decisions in a real S3 and in the store of a worker, by engine, command line and Dagster."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets.what_if import what_if
from neardup_platform.errors import BadArtefact, NotFound, SetupError
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.operations.what_if import answer_what_if
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.testing.images import families
from neardup_platform.testing.scorer import CosineScorer
from neardup_platform.testing.worker import InMemoryWorker
from neardup_platform.topic_logs.s3_topic_log import object_key, put_object
from neardup_platform.topic_logs.topic_log import DECISIONS as LOG
from neardup_platform.what_if.duckdb_recorded import read_recorded
from neardup_platform.what_if.in_words import _example, kept_in_words
from neardup_platform.what_if.question import Question
from neardup_platform.what_if.replay import constant_rule, recorded_evidence, recorded_rule, replay
from neardup_platform.what_if.rescoring import rescore
from neardup_platform.what_if.s3_decisions import get_decisions
from neardup_platform.what_if.s3_what_ifs import newest_what_if, put_what_if
from resources.platform import PlatformResource
from tests.cli.command_line import run
from tests.what_if.records import parquet
from tests.what_if.test_replay import CHAIN

pytestmark = pytest.mark.slow

HOUR = datetime(2026, 1, 31, 10, tzinfo=UTC)
HOURS = [HOUR, HOUR + timedelta(hours=1)]
SHIPPED = read_card(SHIPPED_FOLDER).version


@pytest.fixture
def settings(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's own bucket and home, also for commands and runs."""
    bucket = f"what-if-{time.time_ns()}"
    found = empty_log.model_copy(update={"s3": empty_log.s3.model_copy(update={"bucket": bucket})})
    for name, value in environment(found).items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def s3(settings: Settings) -> Iterator[Any]:
    client = open_s3(settings.s3)
    ensure_bucket(client, settings.s3)
    yield client
    client.close()


@pytest.fixture
def log(settings: Settings, s3: Any, tmp_path: Path) -> Settings:
    """A log of one hour: a chain of four images, decided by the shipped classifier."""
    for each in CHAIN:
        each.classifier_version = SHIPPED
    file = parquet(tmp_path, CHAIN)
    put_object(s3, settings.s3.bucket, object_key(LOG, HOUR, 0), file, OffsetRange(0, 0, len(CHAIN)))
    return settings


def test_a_threshold_is_tried_on_the_log_and_reported(log: Settings, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    answer = answer_what_if(log, Question(HOURS, match=0.65, head=0.4), HOUR, out=out)
    assert (answer["source"], answer["hours_missing"]) == ("log", ["2026-01-31T11"])
    assert (answer["images"], answer["joined"], answer["reproduced"], answer["labelled_pairs"]) == (4, 1, 1.0, 0)
    assert [row["match"] for row in answer["by_threshold"]] == sorted(row["match"] for row in answer["by_threshold"])
    (row,) = [row for row in answer["by_threshold"] if row["match"] == 0.65]
    assert row["joined"] == 1
    assert answer["examples"][0]["page"].endswith("/#/image/d")
    page = out.read_text()
    assert "would join" in page
    assert page.count("data:image/png") == 2


def test_an_example_says_which_labels_its_image_would_lose_and_gain() -> None:
    example = {"change": "moved", "image_id": "a", "other_id": "b", "score": 0.9, "before": "x", "after": "y"}
    assert _example(example) == "a would go from x to y: 0.900 with b"
    labelled = {"labels_before": "hate (p, block)", "labels_after": "spam (q, review)"}
    assert _example(example | labelled).endswith("; losing hate (p, block); gaining spam (q, review)")


def test_the_command_prints_the_answer_and_refuses_with_the_reason(log: Settings) -> None:
    hours = "2026-01-31T10"
    done = run("what-if", "--match", "0.65", "--head", "0.4", "--hours", hours, "--json", home=log.home)
    assert json.loads(done.stdout)["joined"] == 1, done.stderr
    spoken = run("what-if", "--match", "0.65", "--head", "0.4", "--hours", hours, home=log.home)
    assert "1 would join a cluster" in spoken.stdout
    for arguments, reason in (
        (["--match", "0.65", "--terms", "64x8"], "neardup tune"),
        (["--match", "0.3", "--head", "0.4"], "above the match threshold"),
        (["--hours", hours], "nothing to try"),
        (["--match", "0.9", "--hours", "2026-02-01T10"], "materialise logs/decisions"),
        (["--classifier", SHIPPED, "--hours", hours], "worker's machine"),
    ):
        refused = run("what-if", *arguments, *(["--hours", hours] if "--hours" not in arguments else []), home=log.home)
        assert refused.returncode == 1
        assert reason in refused.stderr.strip().splitlines()[-1]


def test_the_asset_shows_numbers_plots_and_examples(log: Settings) -> None:
    def materialise(**config: Any) -> dg.ExecuteInProcessResult:
        given = {"hours": "2026-01-31T10", "head": 0.4, **config}
        return dg.materialize(
            [what_if],
            resources={"platform": PlatformResource()},
            run_config={"ops": {"quality__what_if": {"config": given}}},
            raise_on_error=False,
        )

    (event,) = materialise(match=0.65).asset_materializations_for_node("quality__what_if")
    shown = {name: value.value for name, value in event.metadata.items()}
    assert (shown["joined"], shown["images"], len(event.metadata["examples"].records)) == (1, 4, 1)
    assert shown["over_thresholds"].startswith("![changes over thresholds](data:image/png")
    failed = materialise(terms="64x8")
    assert not failed.success
    reason = failed.failure_data_for_node("quality__what_if")
    assert reason is not None
    assert "neardup tune" in str(reason.user_failure_data)


def test_the_newest_answer_about_a_classifier_is_kept_for_its_promotion(log: Settings, s3: Any) -> None:
    assert newest_what_if(s3, log.s3, "c" * 12) is None
    answer = answer_what_if(log, Question(HOURS, match=0.65, head=0.4), HOUR)
    first, second = (
        put_what_if(s3, log.s3, {**answer, "classifier": "c" * 12}, at_ms)
        for at_ms in (1_780_000_000_000, 1_790_000_000_000)
    )
    assert first != second, "what an earlier run names stays"
    kept = newest_what_if(s3, log.s3, "c" * 12)
    assert kept is not None
    assert "examples" not in kept
    assert "1 would join a cluster" in kept_in_words(kept)
    promoted = run("classifier", "promote", "c" * 12, "--no-wait", home=log.home)
    assert "what-if of 2026-09-21" in promoted.stderr


def test_of_many_answers_the_newest_stay_and_one_of_an_earlier_release_is_read(
    log: Settings, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neardup_platform.what_if.s3_what_ifs.MOST_KEPT", 2)
    bucket, prefix = log.s3.bucket, "quality/what-if/"
    s3.put_object(Bucket=bucket, Key=f"{prefix}dddddddddddd.json", Body=b'{"at_ms": 1}')
    assert newest_what_if(s3, log.s3, "d" * 12) == {"at_ms": 1}
    for at_ms in (1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002):
        put_what_if(s3, log.s3, {"classifier": "d" * 12}, at_ms)
    assert newest_what_if(s3, log.s3, "d" * 12) == {"at_ms": 1_700_000_000_002, "classifier": "d" * 12}
    left = s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}dddddddddddd/")["Contents"]
    assert [entry["Key"][-7:] for entry in left] == ["01.json", "02.json"]


def test_without_log_and_store_the_next_step_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="materialise logs/decisions"):
        get_decisions(settings, HOURS, tmp_path)


@pytest.fixture
def worker(settings: Settings) -> Iterator[InMemoryWorker]:
    """A worker that decided 60 images in the first of the hours and 60 after it."""
    images = families(30, 3, noise=0.4)
    with InMemoryWorker(settings.home) as found:
        found.decide(images[:60], decided_ms=int(HOUR.timestamp() * 1_000))
        found.decide(images[60:], decided_ms=int(HOUR.timestamp() * 1_000) + 7_200_000)
        yield found


def test_the_store_stands_in_for_a_log_that_was_never_materialised(
    settings: Settings, worker: InMemoryWorker, tmp_path: Path
) -> None:
    found = get_decisions(settings, HOURS, tmp_path)
    assert found.source == "store"
    recorded = read_recorded(found.files, tmp_path)
    assert len(recorded) == 60
    again = replay(recorded, recorded_evidence(recorded), recorded_rule(recorded, worker.pipeline.matching.guard, None))
    stored = {image_id: record.head for image_id, record in worker.store.images.all()}
    names = recorded.names(np.arange(60))
    assert recorded.names(again.head[:60]) == [stored[name] for name in names]


class Harsher(CosineScorer):
    """Scores every pair a tenth lower."""

    def score(self, *pairs: Any) -> np.ndarray:
        return super().score(*pairs) - np.float32(0.1)


def all_of(settings: Settings, folder: Path) -> Any:
    return read_recorded(get_decisions(settings, [*HOURS, HOUR + timedelta(hours=2)], folder).files, folder)


def test_a_classifier_scores_recorded_candidates_as_the_worker_would(
    settings: Settings, worker: InMemoryWorker, tmp_path: Path
) -> None:
    recorded, guard = all_of(settings, tmp_path), worker.pipeline.matching.guard
    same = rescore(recorded, worker.store, CosineScorer(), 100_000)
    assert np.allclose(same.evidence.edges.score, recorded.edges.score, atol=2e-3)
    assert (same.left_out, same.gone, same.pairs) == (0, 0, len(recorded.edges.score))
    harsher = rescore(recorded, worker.store, Harsher(), 100_000)
    after = replay(recorded, harsher.evidence, constant_rule(recorded, 0.8, 0.7, guard, None))
    before = replay(recorded, recorded_evidence(recorded), constant_rule(recorded, 0.9, 0.8, guard, None))
    assert (after.head == before.head).mean() > 0.97


def test_beyond_the_limit_of_pairs_the_oldest_images_stay_where_they_are(
    settings: Settings, worker: InMemoryWorker, tmp_path: Path
) -> None:
    recorded = all_of(settings, tmp_path)
    some = rescore(recorded, worker.store, Harsher(), 300)
    assert some.pairs <= 300
    assert some.images + some.left_out == int((np.diff(recorded.edges.starts) > 0).sum())
    assert some.evidence.pinned.sum() == some.left_out
    assert not some.evidence.pinned[-5:].any()


def test_a_forgotten_image_is_counted_and_stays(settings: Settings, worker: InMemoryWorker, tmp_path: Path) -> None:
    recorded = all_of(settings, tmp_path)
    worker.forget(recorded.names([119])[0])
    found = rescore(recorded, worker.store, CosineScorer(), 100_000)
    assert (found.gone, bool(found.evidence.pinned[119])) == (1, True)


def test_a_classifier_of_other_embeddings_is_refused(
    settings: Settings, worker: InMemoryWorker, tmp_path: Path
) -> None:
    models = {kind: ModelSpec("other", spec.dim) for kind, spec in CosineScorer().required_models.items()}
    with pytest.raises(BadArtefact, match=f"trained on {Kind.LSH} embeddings of 'other'"):
        rescore(all_of(settings, tmp_path), worker.store, CosineScorer(required_models=models), 10_000)


def test_a_classifier_without_a_store_is_refused(log: Settings) -> None:
    with pytest.raises(SetupError, match="worker's machine"):
        answer_what_if(log, Question(HOURS, classifier=SHIPPED), HOUR)
