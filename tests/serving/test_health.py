"""Claims about readiness, status and metrics."""

import os
import time
from contextlib import closing
from pathlib import Path

import httpx

from neardup_platform.serving.health import HealthWatch
from neardup_platform.serving.rocksdb_follower import StoreFollower, remove_stale_scratch
from neardup_platform.serving.search_corpus import SearchCorpus
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import Phase, pause, resume
from neardup_platform.testing import eventually
from tests.serving.conftest import Writer, models, seen, serving, wait_for


def test_readiness_names_the_check_that_fails(client: httpx.Client, writer: Writer) -> None:
    writer.beat(Phase.STARTING)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert not answer.json()["checks"]["worker"]["ok"]
    assert answer.json()["checks"]["worker"]["detail"].startswith("starting")
    assert answer.json()["checks"]["store"]["ok"]
    writer.beat(age_s=61)
    assert "at most 60" in client.get("/readyz").json()["checks"]["worker"]["detail"]
    writer.beat()
    wait_for(client, "/readyz", lambda answer: answer.status_code == 200)


def test_a_damaged_heartbeat_counts_as_none(client: httpx.Client, settings: Settings) -> None:
    (settings.home / "worker.json").write_text("{")
    assert client.get("/readyz").status_code == 503
    assert client.get("/v1/status").json()["worker"] is None


def test_status_counts_images_and_clusters_and_includes_the_worker_s_metrics(
    client: httpx.Client, writer: Writer
) -> None:
    writer.decide(["a~1", "a~2", "b"])
    writer.beat(images_per_s=12.5)
    seen(client, "b")
    status = client.get("/v1/status").json()
    assert (status["images"], status["clusters"], status["sequence"]) == (3, 2, 3)
    assert status["state_digest"] == writer.store.state().digest.hex()
    assert status["worker"]["figures"] == {"lag": 3.0, "images_per_s": 12.5}
    assert status["worker"]["alive"]
    wait_for(client, "/v1/status", lambda answer: answer.json()["refresh_age_ms"] < 1_000)


def test_metrics_count_by_route_and_never_by_id(client: httpx.Client, writer: Writer) -> None:
    writer.decide(["secret-id"])
    seen(client, "secret-id")
    client.get("/v1/images/nobody/explanation")
    client.get("/made/up")
    # Ready while what is read is of the last second.
    text = wait_for(client, "/metrics", lambda answer: "neardup_ready 1.0" in answer.text).text
    assert 'neardup_api_requests_total{method="GET",route="/v1/images/{image_id}/explanation",status="404"} 1.0' in text
    assert 'route="none",status="404"' in text
    assert "secret-id" not in text
    assert "made/up" not in text
    assert "neardup_images 1.0" in text
    assert "neardup_worker_lag 3.0" in text
    assert "neardup_worker_dead_lettered 0.0" in text, "or its first rise could not be seen"
    age = float(text.partition("\nneardup_api_refresh_age_seconds ")[2].split()[0])
    assert 0 <= age < 1


def test_an_index_that_cannot_be_written_is_a_metric(client: httpx.Client, writer: Writer) -> None:
    writer.beat(index_problem=0, index_segments=3)
    assert "neardup_worker_index_problem 0.0" in client.get("/metrics").text
    assert "neardup_worker_index_segments 3.0" in client.get("/metrics").text
    writer.beat(index_problem=1)
    assert "neardup_worker_index_problem 1.0" in client.get("/metrics").text


def test_a_planned_stop_is_a_metric_so_that_no_alert_is_raised(
    client: httpx.Client, settings: Settings, writer: Writer
) -> None:
    writer.beat()
    assert "neardup_paused 0.0" in client.get("/metrics").text
    pause(settings.home, "me")
    assert "neardup_paused 1.0" in client.get("/metrics").text
    assert client.get("/v1/status").json()["worker"]["phase"] == "running", "until its process has ended"
    writer.beat(age_s=3_600)
    assert client.get("/v1/status").json()["worker"]["phase"] == "paused"
    resume(settings.home)
    writer.beat(paused=1)
    assert "neardup_paused 1.0" in client.get("/metrics").text


def test_readiness_fails_after_a_second_without_a_refresh(settings: Settings, writer: Writer) -> None:
    follower = StoreFollower(settings.store_path, settings.home, settings.api.refresh_ms)
    watch = HealthWatch(settings, follower, SearchCorpus(follower, lambda: models(settings)))
    with closing(follower):
        follower.start()
        eventually(lambda: watch.readiness().ready)

        def broken() -> None:
            raise OSError("the disk is gone")

        assert follower._reader is not None
        follower._reader.refresh = broken  # type: ignore[method-assign]
        begun = time.monotonic()
        eventually(lambda: not watch.readiness().ready)
        assert time.monotonic() - begun > 0.5
        freshness = watch.readiness().checks["freshness"]
        assert not freshness.ok
        assert "the disk is gone" in freshness.detail


def test_scratch_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead, living = tmp_path / "api-999999999", tmp_path / f"api-{os.getpid()}"
    for folder in (dead, living, tmp_path / "api-notes"):
        folder.mkdir()
    remove_stale_scratch(tmp_path)
    assert not dead.exists()
    assert living.exists()
    assert (tmp_path / "api-notes").exists()


def test_the_scratch_folder_is_removed_at_the_end(settings: Settings, writer: Writer) -> None:
    with serving(settings) as client:
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        assert list(settings.home.glob("api-*"))
    assert not list(settings.home.glob("api-*"))
