"""The calls that change something: overrides are created and removed, images are forgotten. The worker does it."""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.clusters.override_terms import named
from neardup_platform.errors import NotFound
from neardup_platform.records import Kind
from neardup_platform.serving.answers.changes import Ordered, OverrideAction, Overrides, override_of
from neardup_platform.serving.ids import Id
from neardup_platform.serving.ordered_commands import MAX_NAME, IssuedBy, Key, OrderedCommands
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.stored_images import known_image
from neardup_platform.store.view import StoreView
from neardup_platform.wire.command_arguments import MAX_LISTED
from neardup_platform.wire.validation import MAX_ID_BYTES

_MAX_REASON = 500
# Ids are sent one a line.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"


class NewOverride(BaseModel):
    """An operator's correction."""

    model_config = ConfigDict(extra="forbid")

    action: OverrideAction
    image_id: str = Field(
        min_length=1, max_length=MAX_ID_BYTES, description="merge, split, quarantine: an image of the cluster"
    )
    other_id: str = Field(
        "",
        max_length=MAX_ID_BYTES,
        description="move: the image it belongs with; forbid: the image it is kept apart from; merge: an image of the "
        "other cluster",
    )
    image_ids: list[Annotated[str, Field(min_length=1, max_length=MAX_ID_BYTES, pattern=_ONE_LINE)]] = Field(
        [], max_length=MAX_LISTED, description="split: the images that leave, each once"
    )
    reason: str = Field("", max_length=_MAX_REASON)
    issued_by: str = Field(
        "api", min_length=1, max_length=MAX_NAME, description="who is responsible; kept with the override"
    )


class ChangingRoutes:
    """Sends commands to the worker, and reads overrides from the secondary."""

    def __init__(self, commands: OrderedCommands, follower: StoreFollower) -> None:
        self._commands = commands
        self._follower = follower

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/v1", tags=["change"])
        add = router.add_api_route
        add("/overrides", self.overrides, summary="Active overrides")
        add("/overrides", self.create, methods=["POST"], summary="Correct a cluster")
        add(
            "/overrides/{override_id}",
            self.remove,
            methods=["DELETE"],
            summary="Remove an override; changes no cluster by itself",
        )
        add("/images/{image_id:path}", self.forget, methods=["DELETE"], summary="Forget an image")
        return router

    def overrides(
        self,
        image_id: Annotated[str | None, Query(description="only those that name this image")] = None,
        after: Annotated[str | None, Query(description="last `override_id` of the previous page")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000, description="overrides on the page")] = 100,
    ) -> Overrides:
        """A page of the active overrides, oldest first."""
        stored = self._follower.read(lambda store: store.overrides.all())
        listed = [o for o in stored if image_id is None or image_id in named(o)]
        first = next((n + 1 for n, override in enumerate(listed) if override.override_id == after), 0)
        page = listed[first : first + limit]
        return Overrides(total=len(listed), overrides=[override_of(override) for override in page])

    async def create(self, new: NewOverride, key: Key = "") -> Ordered:
        """Move images, keep them apart, merge or split clusters, or close one; applies to all later decisions."""
        given = (("other_id", new.other_id), ("image_ids", "\n".join(new.image_ids)), ("reason", new.reason))
        arguments = {"action": new.action, "image_id": new.image_id, **{name: text for name, text in given if text}}
        return await self._run("override", arguments, new.issued_by, key, lambda store: _check_known(store, new))

    async def remove(self, override_id: Id, issued_by: IssuedBy = "api", key: Key = "") -> Ordered:
        """Remove an override. Images stay where they are until something else moves them."""
        arguments = {"action": "remove", "override_id": override_id}
        return await self._run("override", arguments, issued_by, key, lambda store: _check_override(store, override_id))

    async def forget(self, image_id: Id, issued_by: IssuedBy = "api", key: Key = "") -> Ordered:
        """Remove an image, its vectors and its history; a cluster that it heads gets another head."""
        arguments = {"image_id": image_id}
        return await self._run("forget", arguments, issued_by, key, lambda store: _check_stored(store, image_id))

    async def _run(
        self, name: str, arguments: Mapping[str, str], issued_by: str, key: str, check: Callable[[StoreView], None]
    ) -> Ordered:
        return Ordered.model_validate(await self._commands.run(name, arguments, issued_by, key, check))


def _check_known(store: StoreView, new: NewOverride) -> None:
    for image_id in filter(None, (new.image_id, new.other_id, *new.image_ids)):
        known_image(store, image_id)


def _check_stored(store: StoreView, image_id: str) -> None:
    """An image that waits for its second embedding can be forgotten, too."""
    if not any(store.unpaired.find(kind, image_id) for kind in Kind):
        known_image(store, image_id)


def _check_override(store: StoreView, override_id: str) -> None:
    if not any(override.override_id == override_id for override in store.overrides.all()):
        raise NotFound(f"there is no override {override_id[:128]!r}: GET /v1/overrides lists them")
