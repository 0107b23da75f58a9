"""The calls about banks: what is in them, and images that are put in or taken out. The worker does it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.errors import NotFound
from neardup_platform.serving.answers.banks import Bank, BankPage, Banks, Labelled, Unlabelled, stored_label
from neardup_platform.serving.followed_labels import FollowedLabels
from neardup_platform.serving.ids import Id, checked_length
from neardup_platform.serving.ordered_commands import MAX_NAME, IssuedBy, Key, OrderedCommands
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.stored_images import known_image
from neardup_platform.store.view import StoreView
from neardup_platform.wire.command_arguments import (
    BANK_PATTERN,
    MAX_POLICY,
    MAX_REASON,
    LabelArguments,
    UnlabelArguments,
)
from neardup_platform.wire.validation import MAX_ID_BYTES

BankName = Annotated[str, Path(pattern=BANK_PATTERN, description="1 to 64 of a-z, 0-9 and -")]


class NewLabel(BaseModel):
    """A label to add."""

    model_config = ConfigDict(extra="forbid")

    image_id: str = Field(min_length=1, max_length=MAX_ID_BYTES, description="a decided image")
    policy: str = Field(min_length=1, max_length=MAX_POLICY)
    action: str = Field(min_length=1, max_length=MAX_POLICY, description="what consumers do, such as block or review")
    reason: str = Field("", max_length=MAX_REASON)
    issued_by: str = Field(
        "api", min_length=1, max_length=MAX_NAME, description="who is responsible; kept with the label"
    )


class BankRoutes:
    """Reads banks from the secondary, and sends commands to the worker."""

    def __init__(self, commands: OrderedCommands, follower: StoreFollower, labels: FollowedLabels) -> None:
        self._commands, self._follower, self._labels = commands, follower, labels

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/v1", tags=["change"])
        add = router.add_api_route
        add("/banks", self.banks, summary="Banks, and how many labels and hashes each has")
        add("/banks/{bank}", self.bank, summary="Labels of a bank, page by page")
        add("/banks/{bank}", self.label, methods=["POST"], summary="Put an image into a bank")
        add("/banks/{bank}/{image_id:path}", self.unlabel, methods=["DELETE"], summary="Take an image out of a bank")
        return router

    def banks(self) -> Banks:
        """Every bank that has labels or hashes."""
        labels, hashes = self._follower.read(lambda store: (self._labels.banks(store), store.hashes.counts()))
        names = sorted({*labels, *hashes})
        return Banks(banks=[Bank(bank=name, labels=labels.get(name, 0), hashes=hashes.get(name, 0)) for name in names])

    def bank(
        self,
        bank: BankName,
        limit: Annotated[int, Query(ge=1, le=1_000, description="labels on the page")] = 100,
        cursor: Annotated[
            str | None, Query(max_length=MAX_ID_BYTES, description="`next_cursor` of the previous page")
        ] = None,
    ) -> BankPage:
        """A page of labels, in order of image id; its cost does not depend on the size of the bank."""
        found = self._follower.read(lambda store: store.labels.page(bank, limit + 1, cursor or ""))
        labels = [stored_label(record) for record in found[:limit]]
        more = len(found) > limit
        return BankPage(bank=bank, labels=labels, next_cursor=labels[-1].image_id if more else None)

    async def label(self, bank: BankName, new: NewLabel, key: Key = "") -> Labelled:
        """Label the cluster of an image; lists what is in it now. New images that join carry the label."""
        checked_length(new.image_id)
        arguments = {"bank": bank, **new.model_dump(exclude={"issued_by"}, exclude_defaults=True)}
        values = await self._commands.run(
            LabelArguments.command, arguments, new.issued_by, key, lambda store: _check_known(store, new.image_id)
        )
        return Labelled.model_validate(values | {"members": values["members"].splitlines()})

    async def unlabel(self, bank: BankName, image_id: Id, issued_by: IssuedBy = "api", key: Key = "") -> Unlabelled:
        """Take an image out of a bank. Decisions made before keep the label."""
        arguments = {"bank": bank, "image_id": image_id}
        values = await self._commands.run(
            UnlabelArguments.command, arguments, issued_by, key, lambda store: _check_inside(store, bank, image_id)
        )
        return Unlabelled.model_validate(values)


def _check_known(store: StoreView, image_id: str) -> None:
    known_image(store, image_id)


def _check_inside(store: StoreView, bank: str, image_id: str) -> None:
    if store.labels.find(bank, image_id) is None:
        raise NotFound(f"image {image_id!r} is not in bank {bank!r}: GET /v1/banks/{bank} lists what is")
