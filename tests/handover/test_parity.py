"""Claims about the other pipeline's files, good and bad, on a real S3 server, and about the gate."""

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.errors import BadArtefact, BadCommand, NotFound, ServerUnavailable
from neardup_platform.handover import s3_other
from neardup_platform.handover.agreement import Agreement
from neardup_platform.handover.parity import Parity, judge_parity, measure_parity
from neardup_platform.handover.parquet_rows import read_rows
from neardup_platform.handover.s3_other import fetch_other, place_of
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import HandoverSettings, Settings

HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(servers: Settings) -> Settings:
    s3 = servers.s3.model_copy(update={"bucket": f"handover-{time.time_ns()}"})
    ensure_bucket(open_s3(s3), s3)
    return servers.model_copy(update={"s3": s3})


@pytest.fixture
def s3(settings: Settings) -> Iterator[Any]:
    """The client, over an hour that is empty."""
    client = open_s3(settings.s3)
    yield client
    for item in client.list_objects_v2(Bucket=settings.s3.bucket).get("Contents", ()):
        client.delete_object(Bucket=settings.s3.bucket, Key=item["Key"])


def put(s3: Any, settings: Settings, table: pa.Table | bytes, name: str = "part-0", hour: datetime = HOUR) -> str:
    bucket, prefix = place_of(settings, hour)
    out = io.BytesIO()
    if isinstance(table, pa.Table):
        pq.write_table(table, out)
    s3.put_object(
        Bucket=bucket, Key=f"{prefix}{name}.parquet", Body=table if isinstance(table, bytes) else out.getvalue()
    )
    return f"{prefix}{name}.parquet"


def rows(*pairs: tuple[str | None, str | None]) -> pa.Table:
    return pa.table({"image_id": [pair[0] for pair in pairs], "head": [pair[1] for pair in pairs]})


def test_the_files_of_an_hour_are_read_and_those_of_others_are_not(settings: Settings, s3: Any, tmp_path: Path) -> None:
    put(s3, settings, rows(("a", "a"), ("b", "a")))
    put(s3, settings, rows(("c", "k")), "part-1")
    put(s3, settings, rows(("d", "d")), hour=HOUR + timedelta(hours=1))
    files = fetch_other(settings, s3, HOUR, tmp_path)
    assert read_rows(files).heads == {"a": "a", "b": "a", "c": "k"}
    assert fetch_other(settings, s3, HOUR - timedelta(hours=1), tmp_path) == []


def test_the_later_row_about_an_image_counts(settings: Settings, s3: Any, tmp_path: Path) -> None:
    table = pa.table({"image_id": ["a", "a", "b", "b"], "head": ["1", "2", "3", "4"], "decided_ms": [9, 5, 7, 7]})
    put(s3, settings, table)
    found = read_rows(fetch_other(settings, s3, HOUR, tmp_path))
    assert (found.heads, found.repeated, found.rows) == ({"a": "1", "b": "4"}, 2, 4)


def test_bad_rows_are_counted_by_reason_and_named(settings: Settings, s3: Any, tmp_path: Path) -> None:
    bad: Sequence[tuple[str | None, str | None]] = [(None, "h"), ("", "h"), ("x", None), ("y\n", "h"), ("z" * 513, "h")]
    key = put(s3, settings, rows(("a", "a"), *bad))
    found = read_rows(fetch_other(settings, s3, HOUR, tmp_path))
    assert found.heads == {"a": "a"}
    assert dict(found.bad) == {"no-image-id": 2, "no-head": 1, "bad-id": 2}
    assert [(each["row"], each["file"]) for each in found.bad_examples][:2] == [
        (1, f"s3://{settings.s3.bucket}/{key}"),
        (2, f"s3://{settings.s3.bucket}/{key}"),
    ]
    (problem,) = [
        v.problem for v in judge_parity(parity(bad=found.bad, bad_examples=tuple(found.bad_examples)), LIMITS)
    ][1:]
    assert problem is not None
    assert "2 bad-id, 1 no-head, 2 no-image-id; the first is row 1 of s3://" in problem


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no parquet", "is no Parquet file"),
        (b"", "is no Parquet file"),
        (pa.table({"image_id": ["a"]}), "has no column 'head' (it has ['image_id'])"),
        (pa.table({"image_id": ["a"], "Head": ["a"]}), "its column 'Head' must be named 'head'"),
        (rows(("a", "a")).append_column("decided_ms", [[HOUR.replace(tzinfo=None)]]), "without a time zone"),
        (pa.table({"image_id": [1], "head": ["a"]}), "'image_id' has the type int64, expected a string"),
        (pa.table({"image_id": ["a"], "head": ["a"], "decided_ms": ["now"]}), "expected an integer"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    settings: Settings, s3: Any, tmp_path: Path, content: pa.Table | bytes, says: str
) -> None:
    key = put(s3, settings, content)
    with pytest.raises(BadArtefact) as refused:
        fetch_other(settings, s3, HOUR, tmp_path)
    assert key in str(refused.value)
    assert says in str(refused.value)


def test_files_of_other_tools_are_read_and_hidden_ones_are_not(settings: Settings, s3: Any, tmp_path: Path) -> None:
    times = pa.array([HOUR, HOUR + timedelta(seconds=1)], pa.timestamp("us", "UTC"))
    put(s3, settings, pa.table({"image_id": [b"a", b"a"], "head": ["1", "2"], "decided_ms": times, "other": [1, 2]}))
    put(s3, settings, rows(("b", "b")), "_temporary/0/part-1")
    assert read_rows(fetch_other(settings, s3, HOUR, tmp_path)).heads == {"a": "2"}
    put(s3, settings, pa.table({"image_id": ["c"], "head": ["c"], "decided_ms": [0.5]}), "part-3")
    with pytest.raises(BadArtefact, match=r"part-3\.parquet: its column 'decided_ms' has the value 0\.5"):
        read_rows(fetch_other(settings, s3, HOUR, tmp_path))
    bucket, prefix = place_of(settings, HOUR)
    s3.put_object(Bucket=bucket, Key=f"{prefix}part-4.parquet._COPYING_", Body=b"")
    with pytest.raises(BadArtefact, match=r"'part-4\.parquet\._COPYING_' does not end with \.parquet: rename it"):
        fetch_other(settings, s3, HOUR, tmp_path)


def test_bytes_that_are_no_text_make_a_bad_row(settings: Settings, s3: Any, tmp_path: Path) -> None:
    broken = pa.array([b"\xff\xfe", b"a"], pa.binary()).view(pa.string())
    put(s3, settings, pa.table({"image_id": broken, "head": ["h", "h"]}))
    found = read_rows(fetch_other(settings, s3, HOUR, tmp_path))
    assert (found.heads, dict(found.bad)) == ({"a": "h"}, {"not-utf-8": 1})


def test_a_file_that_vanishes_and_one_that_is_too_long_end_the_comparison(
    settings: Settings, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, settings, rows(("a", "a"), ("b", "b")))
    with monkeypatch.context() as patch:
        patch.setattr(s3_other, "MOST_ROWS", 1)
        with pytest.raises(BadCommand, match="more than 1 rows"):
            fetch_other(settings, s3, HOUR, tmp_path)
    listed = s3_other._listed
    with monkeypatch.context() as patch:
        patch.setattr(s3_other, "_listed", lambda *place: [*listed(*place), "handover/gone.parquet"])
        with pytest.raises(NotFound, match=r"gone\.parquet was listed and cannot be read"):
            fetch_other(settings, s3, HOUR, tmp_path)


def test_another_bucket_is_named_by_its_uri_and_a_missing_one_is_said(
    settings: Settings, s3: Any, tmp_path: Path
) -> None:
    elsewhere = settings.model_copy(update={"handover": HandoverSettings(prefix="s3://theirs-not-there/decisions")})
    assert place_of(elsewhere, HOUR) == ("theirs-not-there", "decisions/hour=2026-03-01T12/")
    with pytest.raises(NotFound, match=r"no bucket theirs-not-there: check handover\.prefix"):
        fetch_other(elsewhere, s3, HOUR, tmp_path)


def test_hours_without_a_file_and_an_api_that_does_not_answer_are_said(settings: Settings, s3: Any) -> None:
    silent = settings.model_copy(update={"api": settings.api.model_copy(update={"port": 1})})
    with pytest.raises(NotFound, match=r"written nothing for 2026-03-01T12: there is no s3://.*hour=2026-03-01T12/"):
        measure_parity(silent, s3, [HOUR])
    put(s3, settings, rows(("a", "a")))
    with pytest.raises(ServerUnavailable):
        measure_parity(silent, s3, [HOUR])


LIMITS = HandoverSettings()
BAD = ({"file": "s3://b/k", "row": 0, "reason": "bad-id: it is empty"},)
GOOD = Agreement(
    images=2_000, together=400, precision_sum=398.0, recall_sum=396.0, pairs_both=500, pairs_ours=510, pairs_theirs=505
)


def parity(agreement: Agreement = GOOD, **changed: Any) -> Parity:
    nothing: Mapping[str, Any] = {
        **dict.fromkeys(("rows", "images"), 2_000),
        "heads_differ": 0,
        **dict.fromkeys(("bad_examples", "disagreements", "other_heads"), ()),
        **dict.fromkeys(("announced", "announced_only")),
    }
    made = Parity((HOUR,), (), files=1, repeated=0, bad={}, decided=agreement.images, agreement=agreement, **nothing)
    return replace(made, **changed)


def gate(found: Parity) -> str | None:
    return judge_parity(found, LIMITS)[0].problem


def test_the_gate_is_green_for_enough_images_that_are_covered_and_agree() -> None:
    assert gate(parity()) is None


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (parity(replace(GOOD, images=999), images=999), "999 images are compared, at least 1,000"),
        (parity(images=2_100), "95.24% of the other's images are decided here"),
        (parity(bad={"bad-id": 100}, bad_examples=BAD), "95.24% of the other's images are decided here"),
        (parity(replace(GOOD, precision_sum=300.0)), "clusters agree by 0.853"),
        (parity(replace(GOOD, together=0, precision_sum=0.0, recall_sum=0.0)), "nothing is put together by either"),
    ],
)
def test_each_shortcoming_closes_the_gate_and_is_said_with_its_setting(found: Parity, says: str) -> None:
    problem = gate(found)
    assert problem is not None
    assert says in problem
    assert problem.count("(handover.least_") == 1
