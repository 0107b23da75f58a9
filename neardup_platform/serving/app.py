"""Assembles the application: routes, problem documents, metrics, guard."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.types import ASGIApp

import neardup_platform
from neardup_platform.serving import problems
from neardup_platform.serving.access import Access, api_is_exposed, api_tokens, open_scopes
from neardup_platform.serving.bank_routes import BankRoutes
from neardup_platform.serving.calls import max_body, media_types, required_scope
from neardup_platform.serving.changing_routes import ChangingRoutes
from neardup_platform.serving.example_pairs import ExamplePairs
from neardup_platform.serving.example_search import ExampleSearch
from neardup_platform.serving.followed_labels import FollowedLabels
from neardup_platform.serving.followed_list import FollowedList
from neardup_platform.serving.followed_overrides import FollowedOverrides
from neardup_platform.serving.guard import Guard, Rules
from neardup_platform.serving.hash_routes import HashRoutes
from neardup_platform.serving.health import HealthWatch
from neardup_platform.serving.kafka_commands import WorkerCommands
from neardup_platform.serving.limits import Bounds, Limits
from neardup_platform.serving.listing_routes import ListingRoutes
from neardup_platform.serving.methods import Methods
from neardup_platform.serving.openapi import documented
from neardup_platform.serving.ordered_commands import OrderedCommands
from neardup_platform.serving.pages import Pages
from neardup_platform.serving.pair_routes import PairRoutes
from neardup_platform.serving.picture_decoding import PictureDecoding
from neardup_platform.serving.picture_routes import PictureRoutes
from neardup_platform.serving.platform_routes import PlatformRoutes
from neardup_platform.serving.prometheus_metrics import Meter, Metrics
from neardup_platform.serving.reading_routes import ReadingRoutes
from neardup_platform.serving.report_routes import ReportRoutes
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.s3_pictures import PictureStore
from neardup_platform.serving.search_corpus import Models, SearchCorpus
from neardup_platform.serving.search_routes import SearchRoutes
from neardup_platform.settings import ApiSettings, Settings
from neardup_platform.terms.rate_limiter import SearchLimiter


def build_app(
    settings: Settings, load_models: Callable[[], Models], decoding: PictureDecoding | None = None
) -> ASGIApp:
    """Build the application; its lifespan follows the store and warms up the search.

    Args:
        settings: with the address of S3 filled in, if pictures should be shown.
        load_models: called in a background thread.
        decoding: closed with the application; None makes one from the settings.

    Raises:
        SetupError: the API is reachable from other machines, and there is no token.
    """
    follower = StoreFollower(settings.store_path, settings.home, settings.api.refresh_ms)
    corpus = SearchCorpus(follower, load_models)
    pictures = PictureStore(settings.s3)
    labels, overrides, clusters = FollowedLabels(), FollowedOverrides(), FollowedList(follower)
    search, pairs = ExampleSearch(corpus, follower, overrides), ExamplePairs(corpus, follower, pictures)
    commands = OrderedCommands(WorkerCommands(settings.kafka, follower), follower)
    watch = HealthWatch(settings, follower, corpus)
    limiter = SearchLimiter(settings.terms.max_queries_per_s, settings.terms.max_waiting_queries)
    turn = CapacityLimiter(1)
    decoding = decoding or PictureDecoding(settings.images)
    metrics = Metrics(watch, limiter, decoding)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        corpus.start()
        clusters.start()
        yield
        decoding.close()
        clusters.close()
        corpus.close()
        follower.close()

    app = _empty_app(lifespan)
    problems.install(app)
    app.include_router(PictureRoutes(follower, pictures).router())
    app.include_router(ReportRoutes(pictures).router())
    app.include_router(ListingRoutes(follower, clusters, pictures, labels, overrides).router())
    app.include_router(ReadingRoutes(follower, pictures, corpus, labels, overrides).router())
    app.include_router(ChangingRoutes(commands, follower).router())
    app.include_router(BankRoutes(commands, follower, labels).router())
    app.include_router(HashRoutes(commands, follower).router())
    app.include_router(SearchRoutes(search, limiter, follower, pictures, labels, decoding, turn).router())
    app.include_router(PairRoutes(pairs, limiter, decoding, turn, settings.api.max_upload_bytes).router())
    app.include_router(PlatformRoutes(watch, metrics).router())
    app.include_router(Pages().router())
    app.openapi = documented(app)  # type: ignore[method-assign]
    limited = Limits(Methods(app, app.router.routes), _bounds(settings.api))
    return Meter(Guard(limited, _rules(settings)), metrics)


def _empty_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    return FastAPI(
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


def _bounds(api: ApiSettings) -> Bounds:
    return Bounds(
        lambda request: max_body(request.path, request.media_type, api),
        api.max_requests,
        api.max_requests_per_client,
        api.read_timeout_s,
    )


def _rules(settings: Settings) -> Rules:
    """Who may call what.

    Raises:
        SetupError: the API is reachable from other machines, and there is no token.
    """
    api = settings.api
    tokens, exposed = api_tokens(settings), api_is_exposed(api)
    access = Access(
        tokens,
        lambda request: required_scope(request.method, request.path),
        lambda: open_scopes(tokens, exposed=exposed, public_read=api.public_read),
    )
    # Links of other sites may lead to the pages and to every GET: they change nothing.
    return Rules(api.host, api.names, access, lambda _: True, media_types)
