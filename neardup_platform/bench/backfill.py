"""`neardup bench backfill`: a backfill of hours of logs and measures, as an operator launches it on a page of Dagster.

An embedded Kafka is filled with hours of traffic (bench/hour_traffic.py). Then one backfill of every log and every
hourly measure is launched by the webserver; Dagster's daemon launches a run for each hour, one at a time. There is no
worker on this Kafka, and no API: `quality/recall` reads its sample and says that it is not measured. With a rate, a
worker decides a live stream meanwhile, of a Kafka of its own on the same machine.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from neardup_platform.bench.disk_room import require_room
from neardup_platform.bench.live_stream import LiveStream, percentile
from neardup_platform.bench.logs import publish_hour
from neardup_platform.bench.machine import result
from neardup_platform.bench.stream import Report
from neardup_platform.bench.stream_processes import producing, running_worker
from neardup_platform.errors import InvariantBroken, ServerUnavailable
from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.servers.dagster_services import dagster_services, stop_order
from neardup_platform.servers.embedded_servers import claimed, ignore, running_servers, server_services, supervised
from neardup_platform.servers.endpoints import DAGSTER_PORT, with_ports
from neardup_platform.servers.platform import workspace_file
from neardup_platform.servers.ports import choose
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import pause
from neardup_platform.topic_logs.topic_log import LOGS

_HOUR = timedelta(hours=1)
# The live stream ends after so long, if the backfill has not.
_MOST_STREAM_S = 3_600
_POLL_S = 1.0
_TIMEOUT_S = 60.0
# An image in Kafka and in the logs on S3.
_IMAGE_BYTES = 7_500
ASSETS = (*(("logs", log.name) for log in LOGS), *(("quality", name) for name in ("coverage", "recall", "drift")))

LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
RUNS = """
query ($id: String!) {
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
    ... on Runs { results { status startTime endTime tags { key value } } }
  }
}"""
DONE = """
query ($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { partitionStats { numMaterialized } } }"""
_RUNNING = frozenset({"REQUESTED", "CANCELING", "FAILING"})


def bench_backfill(images: int, hours: int, rate_per_s: float, report: Report) -> dict[str, Any]:
    """Run the benchmark with its own servers.

    Args:
        images: in each hour; 720,000 are 200 a second.
        hours: of the backfill, those before this one.
        rate_per_s: of the live stream beside; 0 for none.

    Raises:
        ServerUnavailable: a server did not become ready, or Dagster did not launch the backfill.
        SetupError: the disk has no room for the hours.
    """
    require_room(images * hours, _IMAGE_BYTES, "in Kafka and on S3", "measure fewer hours")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    chosen = [now - n * _HOUR for n in range(hours, 0, -1)]
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        with running_dagster(Settings(home=Path(folder, "logs"))) as settings:
            ensure_topics(settings.kafka)
            for hour in chosen:
                report(f"publishing {images:,} images of {hour:%Y-%m-%dT%H}")
                publish_hour(settings, hour, images)
            with contextlib.ExitStack() as beside:
                live = beside.enter_context(_stream(Path(folder, "stream"), rate_per_s)) if rate_per_s else None
                started_s = time.time()
                rows = backfilled(settings.dagster.url, chosen, images, report)
                ended_s = time.time()
        if live is not None:
            rows.append(_latencies(live.between(started_s, ended_s)))
        return result("backfill", settings.masked(), rows)


@contextlib.contextmanager
def running_dagster(settings: Settings) -> Iterator[Settings]:
    """Kafka, S3, Dagster's webserver and daemon, and no worker; yields resolved settings."""
    with claimed(settings.home):
        pause(settings.home, by="neardup bench")
        with_servers, servers = server_services(settings)
        resolved = with_ports(with_servers, choose(settings.home, (DAGSTER_PORT,)))
        services = [*servers, *dagster_services(resolved, workspace_file(), lambda: None)]
        with supervised(settings.home, services, ignore, stop_order(services)) as supervisor:
            supervisor.start(threading.Event())
            yield resolved


def backfilled(url: str, hours: list[datetime], images: int, report: Report) -> list[dict[str, Any]]:
    """Launch a backfill of every log and measure, and wait for its end.

    Args:
        url: of the webserver.

    Returns:
        A row for each hour, with the time of its run, and one for the backfill.

    Raises:
        ServerUnavailable: it was not launched.
    """
    keys = [{"path": list(path)} for path in ASSETS]
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as http:
        params = {"assetSelection": keys, "partitionNames": [f"{hour:%Y-%m-%d-%H:00}" for hour in hours]}
        began_s = time.perf_counter()
        launched = _ask(http, LAUNCH, {"params": params})["launchPartitionBackfill"]
        if "backfillId" not in launched:
            raise ServerUnavailable(f"Dagster launched no backfill: {launched}")
        backfill = launched["backfillId"]
        report(f"backfill {backfill} of {len(ASSETS)} assets over {len(hours)} hours")
        while (status := _ask(http, STATUS, {"id": backfill})["partitionBackfillOrError"]["status"]) in _RUNNING:
            time.sleep(_POLL_S)
        seconds = time.perf_counter() - began_s
        runs = _ask(http, RUNS, {"id": backfill})["runsOrError"]["results"]
        done = _ask(http, DONE, {"keys": keys})["assetNodes"]
    rows = sorted((_row(run, images) for run in runs), key=lambda row: str(row["hour"]))
    materialised = sum(each["partitionStats"]["numMaterialized"] for each in done)
    whole = {
        "engine": "neardup",
        "step": "backfill",
        "status": status,
        "hours": len(hours),
        "images": images * len(hours),
        "seconds": round(seconds, 1),
        "failed_runs": sum(row["status"] != "SUCCESS" for row in rows),
        "materialised": materialised,
        "expected": len(hours) * len(ASSETS),
    }
    for row in (*rows, whole):
        report("  ".join(f"{name}={value}" for name, value in row.items()))
    return [*rows, whole]


def _row(run: Mapping[str, Any], images: int) -> dict[str, Any]:
    hour = next((tag["value"] for tag in run["tags"] if tag["key"] == "dagster/partition"), "")
    ran = (run["endTime"] or 0.0) - (run["startTime"] or 0.0)
    shown = {"engine": "neardup", "step": "run", "hour": hour, "status": run["status"]}
    return {**shown, "images": images, "seconds": round(ran, 1)}


def _ask(http: httpx.Client, query: str, variables: Mapping[str, Any]) -> Any:
    answer = http.post("/graphql", json={"query": query, "variables": variables})
    answer.raise_for_status()
    content = answer.json()
    if content.get("errors"):
        raise InvariantBroken(f"Dagster did not understand a question of the benchmark: {content['errors']}")
    return content["data"]


@contextlib.contextmanager
def _stream(home: Path, rate_per_s: float) -> Iterator[LiveStream]:
    count = round(rate_per_s * _MOST_STREAM_S)
    with running_servers(Settings(home=home), s3=False) as settings:
        ensure_topics(settings.kafka)
        with running_worker(settings):
            with producing(0, count, rate_per_s, settings):
                live = LiveStream(settings, 0, count)
                live.wait_for_first()
                yield live
            live.stop()


def _latencies(found_ms: list[float]) -> dict[str, Any]:
    percentiles = {f"p{percent}_ms": percentile(found_ms, percent) for percent in (50, 99)}
    return {"engine": "neardup", "step": "stream", "images": len(found_ms), **percentiles}
