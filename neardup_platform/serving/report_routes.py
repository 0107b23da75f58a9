"""The call that shows a quality report, so that a link leads to it.

Others who may write to the bucket could replace the page, so it can run no script and load nothing.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path
from starlette.responses import Response

from neardup_platform.errors import BadCommand, NotFound
from neardup_platform.quality_report.period import parse_period
from neardup_platform.quality_report.s3_reports import report_key
from neardup_platform.serving.s3_pictures import PictureStore

# Plots, and small pictures of examples.
MAX_REPORT_BYTES = 16 * 1024 * 1024
_AT_ONCE = 2
_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "private, no-cache",
}


class ReportRoutes:
    """Reports by kind and name."""

    def __init__(self, pictures: PictureStore) -> None:
        self._pictures = pictures
        self._at_once = CapacityLimiter(_AT_ONCE)

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/v1", tags=["read"])
        router.add_api_route(
            "/reports/{kind}/{name}",
            self.report,
            summary="The quality report of a day or a week",
            response_class=Response,
            responses={200: {"content": {"text/html": {}}}},
        )
        return router

    async def report(
        self,
        kind: Annotated[Literal["day", "week"], Path(description="Of a day or of a week.")],
        name: Annotated[str, Path(description="As `2026-11-26` or `2026-W48`, in UTC.", max_length=10)],
    ) -> Response:
        """The page that `quality/report/daily` or `quality/report/weekly` made."""
        page = await to_thread.run_sync(self._fetch, kind, name, limiter=self._at_once)
        return Response(page, headers=_HEADERS, media_type="text/html")

    def _fetch(self, kind: str, name: str) -> bytes:
        day, week = (name, None) if kind == "day" else (None, name)
        try:
            period = parse_period(day, week, datetime.now(UTC))
        except BadCommand as error:
            raise NotFound(f"no report: {error}") from error
        return self._pictures.read(report_key(period), MAX_REPORT_BYTES)
