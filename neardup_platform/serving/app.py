"""The whole application put together: routes, problem documents, metrics, guard."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

import neardup_platform
from neardup_platform.serving import problems
from neardup_platform.serving.access import Access, check_opened, is_exposed, open_scopes
from neardup_platform.serving.answers import Problem
from neardup_platform.serving.changing_routes import ChangingRoutes
from neardup_platform.serving.example_search import ExampleSearch
from neardup_platform.serving.guard import Guard, Rules
from neardup_platform.serving.health import HealthWatch
from neardup_platform.serving.kafka_orders import Orders
from neardup_platform.serving.pages import Pages
from neardup_platform.serving.picture_routes import PictureRoutes
from neardup_platform.serving.platform_routes import PlatformRoutes
from neardup_platform.serving.prometheus_metrics import Meter, Metrics
from neardup_platform.serving.reading_routes import ReadingRoutes
from neardup_platform.serving.required_scopes import media_types, required_scope
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.serving.search_corpus import Models, SearchCorpus
from neardup_platform.serving.search_routes import SearchRoutes
from neardup_platform.settings import Settings
from neardup_platform.terms.gate import SearchGate
from neardup_platform.tokens import Tokens, setting_token


def build_app(settings: Settings, load_models: Callable[[], Models]) -> ASGIApp:
    """The application; its lifespan follows the store and warms up the search.

    Args:
        settings: with the address of S3 filled in, if pictures are to be shown.
        load_models: called in a background thread.
    """
    follower = StoreFollower(settings.store_path, settings.home, settings.api.refresh_ms)
    corpus = SearchCorpus(follower, load_models)
    search = ExampleSearch(corpus, follower)
    pictures = PictureStore(settings.s3)
    watch = HealthWatch(settings, follower, corpus)
    gate = SearchGate(settings.terms.max_queries_per_s, settings.terms.max_waiting_queries)
    metrics = Metrics(watch, gate)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        corpus.start()
        yield
        corpus.close()
        follower.close()

    app = FastAPI(
        title="neardup",
        version=neardup_platform.__version__,
        description="Which images are the same: image → cluster head, cluster head → members, and why.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses={
            "default": {
                "description": "A problem document (RFC 9457)",
                "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
        },
    )
    problems.install(app)
    app.include_router(PictureRoutes(follower, pictures).router())
    app.include_router(ReadingRoutes(follower, pictures).router())
    app.include_router(ChangingRoutes(Orders(settings.kafka, follower), follower).router())
    app.include_router(SearchRoutes(search, gate, follower, pictures, settings.api.max_upload_bytes).router())
    app.include_router(PlatformRoutes(watch, metrics).router())
    app.include_router(Pages().router())
    app.openapi = _documented(app)  # type: ignore[method-assign]
    return Guard(Meter(app, metrics), _rules(settings))


def _rules(settings: Settings) -> Rules:
    """Who may ask what of this API.

    Raises:
        SetupError: others than this machine could ask, and nobody needs a token.
    """
    api = settings.api
    tokens = Tokens(settings.home, setting_token("api.token", api.token))
    exposed = is_exposed(api.host, api.names, api.proxies)
    check_opened(tokens, exposed=exposed, setting="api", host=api.host)
    access = Access(
        tokens,
        lambda request: required_scope(request.method, request.path),
        lambda: open_scopes(tokens, exposed=exposed, public_read=api.public_read),
    )
    # Links of other sites may lead to the pages, and to what GET answers: it changes nothing.
    return Rules(api.host, api.names, access, lambda _: True, media_types)


def _documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """OpenAPI with our problem documents in place of FastAPI's own form of validation errors."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas["Problem"].pop("$defs", {})
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        return document

    return openapi
