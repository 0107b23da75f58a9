"""Claims about recall: the sample and its neighbours are those of an exhaustive search, and each loss is found."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import pytest

from neardup_platform.hourly_quality.duckdb_sample import NEIGHBOURS, Record, Sample, read_sample
from neardup_platform.hourly_quality.recall import Disagreement, MissedPair, Recall, ask, judge_recall, look_up
from neardup_platform.kafka.window import LogRecord
from neardup_platform.records import Decision
from neardup_platform.settings import QualitySettings, Settings
from neardup_platform.testing import small_term_space
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS, TopicLog
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import encode_decision
from tests.serving.conftest import Writer, seen, serving, settings_of, vectors_of, wait_for

SPACE = small_term_space()
HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = [f"{family}~{copy}" for copy in range(4) for family in ("cat", "dog", "bird", "fish", "newt")]


def parquet(folder: Path, log: TopicLog, values: Sequence[bytes]) -> list[Path]:
    file = folder / f"{log.name}.parquet"
    pq.write_table(log.table([LogRecord(0, number, 1, value) for number, value in enumerate(values)]), file)
    return [file]


def sample_of(folder: Path, decisions: Sequence[Decision], most: int = 100) -> Sample:
    """As read from logs of these decisions, each image announced twice."""
    vectors = [vectors_of(each.image_id)[0].astype("<f4").tobytes() for each in decisions]
    ready = [
        pb.EmbeddingReady(
            image_id=each.image_id, model_version=SPACE.model_version, dtype=pb.DTYPE_FLOAT32, vector=vector
        ).SerializeToString()
        for each, vector in zip(decisions, vectors, strict=True)
    ]
    bad = pb.EmbeddingReady(image_id="bad", model_version=SPACE.model_version, vector=b"1234").SerializeToString()
    decided = [encode_decision(each) for each in decisions]
    return read_sample(
        parquet(folder, DECISIONS, decided), parquet(folder, LSH_EMBEDDINGS, [bad, *ready, *ready]), SPACE, most, folder
    )


@contextmanager
def decided(folder: Path) -> Iterator[tuple[Settings, Writer]]:
    """A real API over a store in which `IDS` were decided; the settings know where it listens."""
    settings = settings_of(folder)
    writer = Writer(settings)
    with closing(writer.store), serving(settings) as http:
        writer.decide(IDS)
        seen(http, quote(IDS[-1], safe=""))
        wait_for(http, "/readyz", lambda answer: answer.json()["search"]["ok"])
        yield settings.model_copy(update={"api": settings.api.model_copy(update={"port": http.base_url.port})}), writer


def asked(settings: Settings, sample: Sample) -> Recall:
    return ask(settings, HOUR, sample, lambda: True)


def test_the_neighbours_are_those_of_an_exhaustive_search(tmp_path: Path) -> None:
    decisions = [record_of(number, image_id) for number, image_id in enumerate(IDS)]
    sample = sample_of(tmp_path, decisions, most=7)
    assert len(sample.sampled) == 7
    assert sample.searched == len(IDS)
    assert sample_of(tmp_path, decisions, most=7) == sample
    rows = np.array([vectors_of(image_id)[0] for image_id in IDS])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = set()
    for image_id in sample.sampled:
        order = np.argsort(-rows @ rows[IDS.index(image_id)], kind="stable")[1 : NEIGHBOURS + 1]
        expected |= {tuple(sorted((IDS.index(image_id), int(other)))) for other in order}
    assert {(IDS.index(pair.earlier), IDS.index(pair.later)) for pair in sample.near} == expected


def record_of(sequence: int, image_id: str) -> Decision:
    return Decision(
        sequence=sequence + 1,
        image_id=image_id,
        head=image_id,
        score=0.0,
        head_score=1.0,
        candidates=(),
        candidates_found=0,
        bridges=(),
        threshold=0.9,
        head_threshold=0.8,
        terms_version="t",
        classifier_version="c",
        event_time_ms=1,
        decided_ms=2,
    )


def test_a_sound_hour_has_all_its_matches_and_is_decided_the_same_again(tmp_path: Path) -> None:
    with decided(tmp_path) as (settings, writer):
        found = asked(settings, sample_of(tmp_path, writer.worker.decisions()))
    # Each family has six pairs; a fifth neighbour is of another family.
    assert (found.matches, found.missed, found.recall, found.agreement) == (30, (), 1, 1)
    assert found.decided_again == len(IDS)
    assert found.scored > 0
    assert not any(verdict.problem for verdict in judge_recall(found, QualitySettings()))


def test_a_match_that_no_decision_names_is_missed_unless_its_cluster_was_found(tmp_path: Path) -> None:
    with decided(tmp_path) as (settings, writer):
        decisions = {each.image_id: each for each in writer.worker.decisions()}
        # What a search leaves behind that found nothing: the image heads a cluster of its own.
        writer.worker.override("alone", "cat~3")
        decisions["cat~3"] = replace(decisions["cat~3"], candidates=(), head="cat~3")
        dogs = decisions["dog~3"]
        decisions["dog~3"] = replace(dogs, candidates=tuple(c for c in dogs.candidates if c.image_id != "dog~1"))
        found = asked(settings, sample_of(tmp_path, list(decisions.values())))
    assert {(pair.earlier, pair.later) for pair in found.missed} == {(f"cat~{n}", "cat~3") for n in range(3)}
    assert found.matches == 30 - 3 - 1
    assert found.cluster_found >= 1
    assert not any(v.problem for v in judge_recall(found, QualitySettings())), "of so few pairs it may be chance"
    limits = QualitySettings(min_recall=0.999)
    ((name, problem),) = {v.name: v.problem for v in judge_recall(found, limits) if v.problem}.items()
    assert name == "matches_are_found"
    assert "3 of 29 matching pairs" in problem
    assert "reprocess_hour" in problem


def test_images_that_would_be_elsewhere_now_are_listed_with_both_scores(tmp_path: Path) -> None:
    with decided(tmp_path) as (settings, writer):
        decisions = writer.worker.decisions()
        (first, *_) = (each.image_id for each in decisions if each.head != each.image_id)
        # By an override the image stays out of the cluster that it would join again.
        writer.worker.override("alone", first)
        found = asked(
            settings, sample_of(tmp_path, [replace(e, head=first) if e.image_id == first else e for e in decisions])
        )
    # Its family may follow it, as it heads a cluster now.
    assert {each.image_id.partition("~")[0] for each in found.disagreements} == {first.partition("~")[0]}
    (other,) = (each for each in found.disagreements if each.image_id == first)
    assert (other.head, other.head_now) == (first, first.replace("~1", "~0"))
    assert other.score_now > 0.9


def test_without_an_api_nothing_is_measured_and_nothing_is_green(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    settings = settings.model_copy(update={"api": settings.api.model_copy(update={"port": 1})})
    found = asked(settings, sample_of(tmp_path, [record_of(number, image_id) for number, image_id in enumerate(IDS)]))
    assert found.recall is None
    verdicts = judge_recall(found, QualitySettings())
    assert [v.problem and v.problem[:13] for v in verdicts] == ["not measured:", "not measured:"]
    assert all("Start the API" in (v.problem or "") for v in verdicts)


def test_time_that_is_over_ends_the_questions(tmp_path: Path) -> None:
    with decided(tmp_path) as (settings, writer):
        found = ask(settings, HOUR, sample_of(tmp_path, writer.worker.decisions()), lambda: False)
    assert (found.scored, found.decided_again, found.unmeasured) == (0, 0, "")
    assert "too little" in judge_recall(found, QualitySettings())[1].good


def test_an_image_that_an_override_put_there_is_not_decided_again(tmp_path: Path) -> None:
    pinned = [replace(record_of(number, each), override_id="o") for number, each in enumerate(IDS)]
    sample = sample_of(tmp_path, pinned)
    assert all(record.pinned for record in sample.records.values())
    assert look_up(sample).matches == 0


@pytest.mark.parametrize(
    ("found", "red"),
    [
        (Recall(HOUR, matches=90, missed=(MissedPair("a", "b", 0.9),) * 10, decided_again=100), set()),
        (Recall(HOUR, matches=85, missed=(MissedPair("a", "b", 0.9),) * 15), {"matches_are_found"}),
        (Recall(HOUR, matches=9_350, missed=(MissedPair("a", "b", 0.9),) * 650), {"matches_are_found"}),
        (Recall(HOUR, matches=0, missed=(MissedPair("a", "b", 0.9),) * 19), set()),
        (
            Recall(HOUR, decided_again=100, disagreements=(Disagreement("a", "b", 0, "c", 0),) * 15),
            {"decisions_are_repeatable"},
        ),
        (Recall(HOUR), set()),
    ],
)
def test_each_share_is_judged_where_there_is_enough(found: Recall, red: set[str]) -> None:
    assert {v.name for v in judge_recall(found, QualitySettings()) if v.problem} == red


def test_a_record_knows_its_own_cluster_and_those_of_its_candidates(tmp_path: Path) -> None:
    records = sample_of(tmp_path, [record_of(0, "cat~0")]).records
    assert records == {"cat~0": Record("cat~0", 1, "cat~0", 0.0, pytest.approx(0.9), {}, frozenset({"cat~0"}), False)}


def test_an_hour_without_decisions_has_no_sample(tmp_path: Path) -> None:
    assert read_sample([], [], SPACE, 10, tmp_path) == Sample((), (), {}, 0)
    assert asked(settings_of(tmp_path), Sample((), (), {}, 0)).unmeasured == ""
