"""Metrics: requests by route, freshness, totals, and the metrics that the worker reports."""

import re
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neardup_platform.errors import ServerUnavailable
from neardup_platform.serving.health import HealthWatch
from neardup_platform.serving.picture_decoding import PictureDecoding
from neardup_platform.supervise.worker_metrics import COUNTERS, WORKER_METRICS
from neardup_platform.terms.rate_limiter import SearchLimiter

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_METRIC_NAME = re.compile("[a-z][a-z0-9_]*")


class Metrics:
    """The metrics of this application, in a registry of its own."""

    def __init__(self, watch: HealthWatch, limiter: SearchLimiter, decoding: PictureDecoding) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "neardup_api_requests_total",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "neardup_api_request_seconds",
            "Time to answer, seconds.",
            ("route",),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Gauges(watch))
        self._registry.register(_SearchCounters(limiter))
        self._registry.register(_DecodeCounters(decoding))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class Meter:
    """Counts every request of the application it wraps, by route pattern: ids never become labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun, asked = time.perf_counter(), scope["method"]
        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            route = getattr(scope.get("route"), "path_format", "none")
            method = asked if route != "none" else "any"
            self._metrics.count(route, method, status, time.perf_counter() - begun)


class _Gauges(Collector):
    """Totals, read when Prometheus scrapes."""

    def __init__(self, watch: HealthWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
        """Totals, freshness and the worker's metrics; unknown values are left out."""
        yield _gauge("neardup_ready", "1 when /readyz answers 200.", self._watch.readiness().ready)
        yield _gauge("neardup_paused", "1 while someone has paused the worker or the stream.", self._watch.paused)
        yield _gauge("neardup_api_refresh_age_seconds", "Age of what readers see.", self._watch.refresh_age_s)
        try:
            status = self._watch.status()
        except ServerUnavailable:
            return
        yield _gauge("neardup_images", "Images decided.", status.images)
        yield _gauge("neardup_clusters", "Clusters.", status.clusters)
        if status.classifier_version:
            yield _info("neardup_classifier", "The active classifier.", version=status.classifier_version)
        if status.worker is None:
            return
        age_s = status.worker.heartbeat_age_s
        yield _gauge("neardup_worker_heartbeat_age_seconds", "Age of the worker's last heartbeat.", age_s)
        # A counter that is missing until it counts could not be seen to rise from 0.
        for name, value in sorted({**dict.fromkeys(COUNTERS, 0.0), **status.worker.figures}.items()):
            if _METRIC_NAME.fullmatch(name):
                yield _gauge(
                    f"neardup_worker_{name}", WORKER_METRICS.get(name, f"{name} as the worker reports it."), value
                )


class _SearchCounters(Collector):
    """Searches by example at the rate limiter, read when Prometheus scrapes."""

    def __init__(self, limiter: SearchLimiter) -> None:
        self._limiter = limiter

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Searches begun, refused and waiting, and their total waiting time."""
        figures = self._limiter.metrics()
        yield _counter("neardup_api_searches", "Searches by example begun.", figures["search_queries"])
        yield _counter("neardup_api_searches_refused", "Searches refused, 429 or 503.", figures["search_refused"])
        waited_s = figures["search_waited_ms"] / 1_000
        yield _counter(
            "neardup_api_searches_waited_seconds",
            "Time from the request to the search's turn, upload included.",
            waited_s,
        )
        yield _gauge("neardup_api_searches_waiting", "Searches waiting for their turn.", figures["search_waiting"])


class _DecodeCounters(Collector):
    """Uploads decoded in separate processes, read when Prometheus scrapes."""

    def __init__(self, decoding: PictureDecoding) -> None:
        self._decoding = decoding

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Decodes begun, killed by a limit, cancelled by a disconnect, and those in the slow lane."""
        figures = self._decoding.figures()
        yield _counter("neardup_api_decodes", "Pictures given to a decoder.", figures["decodes"])
        yield _counter(
            "neardup_api_decodes_killed", "Decoders killed by a limit or a fault.", figures["decodes_killed"]
        )
        yield _counter(
            "neardup_api_decodes_cancelled",
            "Decoders stopped because the client disconnected.",
            figures["decodes_cancelled"],
        )
        yield _counter("neardup_api_decodes_slow", "Pictures moved to the slow lane.", figures["decodes_slow"])
        yield _gauge(
            "neardup_api_decodes_slow_waiting", "Pictures in the slow lane now.", figures["decodes_slow_waiting"]
        )


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=float(value))


def _info(name: str, text: str, **labels: str) -> InfoMetricFamily:
    return InfoMetricFamily(name, text, value=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
