"""The platform on one machine: up, down, status, doctor, worker, pause and resume."""

import getpass
import logging
import signal
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from neardup_platform.cli.output import TOKEN_HINT, api_client, emit, json_option, load_tensorflow, say
from neardup_platform.cli.worker_commands import send_to_worker
from neardup_platform.errors import AccessDenied, NeardupError, ServerUnavailable
from neardup_platform.servers.detached import platform_status, start_detached, stop
from neardup_platform.servers.endpoints import resolve
from neardup_platform.servers.platform import run_platform
from neardup_platform.servers.worker_supervision import NAME as WORKER_SUPERVISOR
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import Phase, paused_by, read_heartbeat
from neardup_platform.supervise.heartbeat import pause as ask_pause
from neardup_platform.supervise.heartbeat import resume as end_pause
from neardup_platform.terminal_text import log_to_stderr
from neardup_platform.wire.command_arguments import PauseArguments, ResumeArguments


@click.command(epilog="Example:  neardup up --detach && neardup status")
@click.option("--detach", is_flag=True, help="Return once ready; `neardup down` stops it.")
@json_option
def up(detach: bool, as_json: bool) -> None:
    """Start Kafka, S3, Dagster with the stream worker, and the API.

    Outside a checkout there is no Dagster code location; then the worker is supervised without Dagster.
    """
    from neardup_platform.serving.access import api_tokens

    settings = Settings()
    # Without a token the API would refuse to start, but only after everything else has started.
    api_tokens(settings)
    if detach:
        start_detached(settings)
        emit(platform_status(settings), as_json, _describe_urls)
        return
    run_platform(settings, say, lambda s: emit(platform_status(s), as_json, _describe_urls))


@click.command(epilog="Example:  neardup down")
@json_option
def down(as_json: bool) -> None:
    """Stop everything that `up` started; the state stays."""
    emit(
        {"stopped": stop(Settings())},
        as_json,
        lambda a: "stopped" if a["stopped"] else "nothing was running",
    )


@click.command(epilog="Example:  neardup status --json")
@json_option
def status(as_json: bool) -> None:
    """Show what is running, how far the worker is behind, and what the store holds."""
    emit(collect_status(Settings()), as_json, _describe_status)


@click.command(epilog="Example:  neardup doctor")
@click.option("--repair", is_flag=True, help="Repair the clusters; the worker must be stopped.")
@json_option
def doctor(repair: bool, as_json: bool) -> int:
    """Check versions, servers, topics, store and index integrity, disk; exit status 1 if any check fails."""
    from neardup_platform.cli.doctor import examine

    if repair:
        return _repair(as_json)

    load_tensorflow()
    checks = examine(Settings())
    healthy = all(check.ok for check in checks)
    answer = {"healthy": healthy, "checks": [check.as_dict() for check in checks]}
    emit(answer, as_json, lambda _: "\n".join(str(check) for check in checks))
    return 0 if healthy else 1


def _repair(as_json: bool) -> int:
    """Repair the clusters; the exit status is 1 if some damage cannot be repaired."""
    from neardup_platform.cli.doctor import repair_clusters

    done = repair_clusters(Settings())
    answer = {
        "healthy": not done.left,
        "mended": [{"kind": finding.kind, "what": finding.what} for finding in done.mended],
        "decisions": done.decisions,
        "left": done.left,
    }
    emit(answer, as_json, _describe_repair)
    return 1 if done.left else 0


def _describe_repair(answer: dict[str, Any]) -> str:
    lines = [f"repaired  {finding['what']}" for finding in answer["mended"]] or ["nothing was wrong"]
    if answer["decisions"]:
        lines.append(f"{answer['decisions']} images have another head: the worker publishes this when it runs again")
    return "\n".join([*lines, *(f"FAILED  {what}: restore a snapshot" for what in answer["left"])])


@click.command(epilog="Example:  neardup worker --verbose")
@click.option("--verbose", is_flag=True, help="Log every report.")
def worker(verbose: bool) -> None:
    """Run the stream worker alone, in the foreground, until Ctrl-C. Dagster starts the same worker."""
    from neardup_platform.clock import SystemClock
    from neardup_platform.stream.running import run_worker

    log_to_stderr("%(asctime)s %(levelname)s %(name)s %(message)s")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    report = logging.getLogger("neardup.report").info if verbose else lambda _: None
    run_worker(resolve(Settings()), SystemClock(), stopping, report)


@click.command(epilog="Example:  neardup pause --stream")
@click.option("--stream", is_flag=True, help="Keep the worker running for commands, but read no embeddings.")
@json_option
def pause(stream: bool, as_json: bool) -> int | None:
    """Stop the stream worker until `resume`; new embeddings wait in Kafka."""
    settings = Settings()
    if stream:
        return send_to_worker(
            resolve(settings),
            PauseArguments(),
            as_json,
            lambda a: f"the stream is paused by {a['by']}: embeddings wait in Kafka",
        )
    ask_pause(settings.home, getpass.getuser())
    emit({"paused_by": paused_by(settings.home)}, as_json, lambda a: f"paused by {a['paused_by']}")
    return None


@click.command(epilog="Example:  neardup resume")
@click.option("--stream", is_flag=True, help="Revert `pause --stream`.")
@json_option
def resume(stream: bool, as_json: bool) -> int | None:
    """End a pause: the worker starts again within seconds."""
    settings = Settings()
    if stream:
        return send_to_worker(resolve(settings), ResumeArguments(), as_json, lambda _: "embeddings are read")
    end_pause(settings.home)
    emit({"paused_by": paused_by(settings.home)}, as_json, lambda _: "resumed")
    return None


def collect_status(settings: Settings) -> dict[str, Any]:
    """Collect what `neardup status` reports, whether or not the platform runs."""
    platform = platform_status(settings)
    heartbeat = read_heartbeat(settings.home)
    now_ms = time.time_ns() // 1_000_000
    metrics = heartbeat.metrics if heartbeat else {}
    store = _ask_api(settings)
    alive = heartbeat is not None and heartbeat.alive(now_ms, settings.worker.stalled_s)
    return {
        "ready": bool(platform["ready"] and store.get("ready")),
        "worker": {
            "alive": alive,
            "lag": metrics.get("lag"),
            "pid": heartbeat.pid if heartbeat else None,
            "phase": heartbeat.phase if heartbeat else None,
            "progress": heartbeat.progress if heartbeat else "",
            "heartbeat_age_s": heartbeat.age_s(now_ms) if heartbeat else None,
            "paused_by": paused_by(settings.home),
            "supervised_by": _supervisor(platform["services"]),
            "stream_paused_by": store.get("paused_by"),
            "stream_paused_ms": store.get("paused_ms"),
            "figures": metrics,
        },
        "urls": platform["urls"],
        "classifier_version": store.get("classifier_version") or (heartbeat.classifier_version if heartbeat else ""),
        "images": store.get("images", int(metrics.get("images", 0))),
        "clusters": store.get("clusters", int(metrics.get("clusters", 0))),
        "state_digest": store.get("state_digest"),
        "api_problem": store.get("problem"),
        "services": platform["services"],
        "settings": {**settings.masked(), "fingerprint": settings.fingerprint()},
    }


def _supervisor(services: dict[str, Any]) -> str | None:
    """What restarts the worker: `dagster`, `neardup up` where no code location is installed, or None."""
    if "dagster-daemon" in services:
        return "dagster"
    return "neardup up" if WORKER_SUPERVISOR in services else None


def _ask_api(settings: Settings) -> dict[str, Any]:
    try:
        with api_client(settings, attempts=1) as api:
            return asdict(api.status())
    except ServerUnavailable:
        return {}
    except AccessDenied as error:
        return {"problem": f"{error} {TOKEN_HINT}"}
    except NeardupError as error:
        return {"problem": str(error)}


def _describe_urls(answer: dict[str, Any]) -> str:
    return "\n".join(f"{name:>9}  {url}" for name, url in answer["urls"].items() if url)


# Metrics of reading Kafka that are 0 when all is well.
_READING_PROBLEMS = {
    "partitions_unread": "partitions are not read yet: see the worker's log if this lasts a minute",
    "transactions_open": "partitions are held back by a transaction that its producer has not ended",
    "topics_recreated": "topics were deleted and created again: they are read from the beginning",
    "messages_truncated": "messages were lost by their broker after they were read: check its disk",
    "messages_lost": "messages were deleted by retention before they were read",
}


def _describe_status(answer: dict[str, Any]) -> str:
    worker = answer["worker"]
    state = f"paused by {worker['paused_by']}" if worker["paused_by"] else "alive" if worker["alive"] else "down"
    doing = worker["progress"] if worker["alive"] else ""
    if doing and worker["phase"] == Phase.STARTING:
        state = f"starting: {doing}"
    lines = [
        "ready" if answer["ready"] else "not ready",
        f"   worker  {state}, {worker['lag'] or 0:.0f} messages behind",
        f"   images  {answer['images']} in {answer['clusters']} clusters",
        f"   digest  {answer['state_digest'] or 'unknown'}",
        f"   scorer  classifier {answer['classifier_version'] or 'unknown'}",
    ]
    if doing and worker["phase"] == Phase.RUNNING:
        lines.append(f"  command  {doing}")
    if worker["supervised_by"] == "neardup up":
        lines.append("  dagster  no code location here: `neardup up` supervises the worker itself")
    if worker["figures"].get("paused"):
        by = worker["stream_paused_by"] or "an operator"
        lines.append(f"   stream  paused by {by}: `neardup resume --stream` continues it")
    if worker["figures"].get("shadow"):
        since = datetime.fromtimestamp(worker["figures"].get("shadow_since_ms", 0) / 1_000, UTC)
        withheld = int(worker["figures"].get("withheld", 0))
        lines.append(
            f"   shadow  since {since:%Y-%m-%d %H:%M} UTC, {withheld} decisions were not published: `neardup cut-over` "
            "ends it"
        )
    if answer["api_problem"]:
        lines.append(f"      api  {answer['api_problem']}")
    for metric, text in _READING_PROBLEMS.items():
        if count := worker["figures"].get(metric):
            lines.append(f"    kafka  {count:.0f} {text}")
    if worker["figures"].get("index_problem"):
        lines.append("    index  cannot be written, the worker's log says why: free some disk space and it continues")
    lines += [
        f"{name:>9}  {'ready' if s['ready'] else 'up' if s['alive'] else 'down'}, {s['rss_mb']} MB"
        for name, s in answer["services"].items()
    ]
    return "\n".join([*lines, _describe_urls(answer)])
