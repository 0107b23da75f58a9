"""The explorer and the API's documentation page: files of this package, nothing from other hosts."""

from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from neardup_platform.serving.problem_types import problems_page

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}


class Pages:
    """Serves the files, which are read once."""

    def __init__(self) -> None:
        self._files = {file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.suffix in _MEDIA_TYPES}

    def router(self) -> APIRouter:
        """The routes; they do not appear in the OpenAPI document."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self.explorer)
        router.add_api_route("/docs", self.docs)
        router.add_api_route("/docs/problems", self.problems)
        router.add_api_route("/static/{name}", self.static)
        return router

    async def explorer(self) -> Response:
        """The explorer page."""
        return self._page("explorer.html")

    async def docs(self) -> Response:
        """The page that displays /openapi.json."""
        return self._page("docs.html")

    async def problems(self) -> Response:
        """The page that the types of problem documents refer to."""
        return Response(problems_page(), headers={"Cache-Control": "no-cache"}, media_type="text/html")

    async def static(self, name: str) -> Response:
        """A style sheet, script or icon of the pages."""
        if name not in self._files:
            raise HTTPException(404)
        return self._page(name)

    def _page(self, name: str) -> Response:
        # Fetched on every visit, so that pages and API are of one version; both are on the same machine.
        headers = {"Cache-Control": "no-cache"}
        return Response(self._files[name], headers=headers, media_type=_MEDIA_TYPES[Path(name).suffix])
