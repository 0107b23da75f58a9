"""The calls about the platform itself: alive, ready, metrics, totals."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from neardup_platform.serving.answers.changes import Promotions
from neardup_platform.serving.answers.health import Health, Readiness, Status
from neardup_platform.serving.health import HealthWatch
from neardup_platform.serving.prometheus_metrics import Metrics


class PlatformRoutes:
    """For probes, scrapers and the header of the explorer."""

    def __init__(self, watch: HealthWatch, metrics: Metrics) -> None:
        self._watch = watch
        self._metrics = metrics

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["platform"])
        not_ready: dict[int | str, dict[str, Any]] = {503: {"model": Readiness, "description": "Not ready, and why"}}
        router.add_api_route("/v1/status", self.status, summary="Totals and freshness")
        router.add_api_route("/v1/promotions", self.promotions, summary="Changes of the classifier")
        router.add_api_route("/healthz", self.healthz, summary="Alive")
        router.add_api_route("/readyz", self.readyz, summary="Ready to answer", responses=not_ready)
        router.add_api_route("/metrics", self.metrics, summary="Prometheus metrics", response_class=Response)
        return router

    def status(self) -> Status:
        """Images, clusters, state digest, freshness, and the worker's metrics."""
        return self._watch.status()

    def promotions(self) -> Promotions:
        """Which classifier replaced which, when and by whom; newest first."""
        return self._watch.promotions()

    async def healthz(self) -> Health:
        """Always 200 while the process runs; needs no thread, so it answers under any load."""
        return Health()

    def readyz(self, response: Response) -> Readiness:
        """200 when the store can be read, is fresh, and a worker runs; else 503 with the failing check."""
        readiness = self._watch.readiness()
        response.status_code = 200 if readiness.ready else 503
        return readiness

    def metrics(self) -> Response:
        """All metrics in Prometheus' text format."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)
