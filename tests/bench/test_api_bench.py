"""`neardup bench api`: its load on a real server, and the whole with its own servers."""

import json
from pathlib import Path

import httpx
import pytest

from neardup_platform.bench.api import Work, bench_api
from neardup_platform.bench.http_load import closed_loop, encoded
from neardup_platform.errors import ServerUnavailable
from tests.serving.conftest import unchanged

__all__ = ["unchanged"]

FIELDS = {"engine", "call", "requests_per_s", "p50_ms", "p99_ms", "api_ms", "connections"}


def test_every_answer_of_a_load_is_awaited_and_counted(unchanged: httpx.Client) -> None:
    port = unchanged.base_url.port
    requests = [encoded("GET", "/v1/images/cat~1"), encoded("POST", "/v1/images:lookup", {"ids": ["cat~2"]})]
    answered = closed_loop(port, requests, 3, 0.2)
    assert len(answered.latencies_ms) >= 3
    # Three connections answered all the time.
    assert 0.2 <= answered.latencies_ms.sum() / 3_000 <= answered.seconds + 0.1
    one_each = closed_loop(port, requests, 2, 0.0)
    assert len(one_each.latencies_ms) == 2


@pytest.mark.parametrize(
    ("path", "said"), [("/v1/images/nobody", "answered 404: .*has not been decided"), ("/v1/nothing", "answered 404")]
)
def test_a_load_ends_with_the_first_refusal(unchanged: httpx.Client, path: str, said: str) -> None:
    with pytest.raises(ServerUnavailable, match=said):
        closed_loop(unchanged.base_url.port, [encoded("GET", path)], 1, 0.2)


@pytest.mark.slow
def test_bench_api_measures_every_call_beside_a_stream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    answer = bench_api(Work(images=1_500, connections=(1, 2), seconds=0.2, rate_per_s=20), lines.append)
    assert json.loads(json.dumps(answer)).keys() >= {"bench", "machine", "settings", "rows"}
    rows = answer["rows"]
    assert [row["connections"] for row in rows] == [1, 2] * (len(rows) // 2)
    calls = {row["call"] for row in rows}
    assert {"GET image", "GET clusters, 100", "POST search, vectors", "POST pairs, ids"} <= calls
    assert len(calls) == len(rows) // 2
    for row in rows:
        assert row.keys() >= FIELDS
        assert row["requests_per_s"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["api_ms"] >= 0
    # A process's time is counted in hundredths of a second, which the few calls of a busy machine may not fill.
    assert any(row["api_ms"] > 0 for row in rows)
    assert sum(row["stream_images"] for row in rows) > 0
