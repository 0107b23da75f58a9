"""The calls about PDQ hashes of banks: which a bank has, and those that the worker puts in or takes out."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from neardup_platform.errors import NotFound
from neardup_platform.serving.answers.banks import HashesLabelled, HashesRemoved, HashPage, stored_hash
from neardup_platform.serving.bank_routes import BankName
from neardup_platform.serving.ordered_commands import MAX_NAME, IssuedBy, Key, OrderedCommands
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store.view import StoreView
from neardup_platform.wire.command_arguments import (
    MAX_HASHES_EACH,
    MAX_POLICY,
    MAX_REASON,
    PDQ_PATTERN,
    LabelHashesArguments,
    UnlabelHashesArguments,
)

PdqText = Annotated[str, Field(pattern=PDQ_PATTERN)]


class NewHashes(BaseModel):
    """Hashes to add."""

    model_config = ConfigDict(extra="forbid")

    hashes: list[PdqText] = Field(
        min_length=1, max_length=MAX_HASHES_EACH, description="PDQ hashes of 64 hexadecimal digits"
    )
    policy: str = Field(min_length=1, max_length=MAX_POLICY)
    action: str = Field(min_length=1, max_length=MAX_POLICY, description="what consumers do, such as block or review")
    reason: str = Field("", max_length=MAX_REASON)
    issued_by: str = Field(
        "api", min_length=1, max_length=MAX_NAME, description="who is responsible; kept with the hashes"
    )


class HashRoutes:
    """Reads hashes from the secondary, and sends commands to the worker."""

    def __init__(self, commands: OrderedCommands, follower: StoreFollower) -> None:
        self._commands, self._follower = commands, follower

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/v1", tags=["change"])
        add = router.add_api_route
        add("/hashes/{bank}", self.hashes, summary="PDQ hashes of a bank, page by page")
        add("/hashes/{bank}", self.label, methods=["POST"], summary="Put PDQ hashes into a bank")
        add("/hashes/{bank}/{pdq}", self.unlabel, methods=["DELETE"], summary="Take a PDQ hash out of a bank")
        return router

    def hashes(
        self,
        bank: BankName,
        limit: Annotated[int, Query(ge=1, le=1_000, description="hashes on the page")] = 100,
        cursor: Annotated[
            str | None, Query(pattern=PDQ_PATTERN, description="`next_cursor` of the previous page")
        ] = None,
    ) -> HashPage:
        """A page of hashes, in order of hash; its cost does not depend on the size of the bank."""
        after = bytes.fromhex(cursor or "")
        found = self._follower.read(lambda store: store.hashes.page(bank, limit + 1, after))
        hashes = [stored_hash(record) for record in found[:limit]]
        return HashPage(bank=bank, hashes=hashes, next_cursor=hashes[-1].pdq if len(found) > limit else None)

    async def label(self, bank: BankName, new: NewHashes, key: Key = "") -> HashesLabelled:
        """Label the images within 31 bits of a hash: those that are stored now, and new ones when they are decided."""
        terms = new.model_dump(exclude={"issued_by", "hashes"}, exclude_defaults=True)
        arguments = {"bank": bank, "hashes": "\n".join(new.hashes), **terms}
        values = await self._commands.run(
            LabelHashesArguments.command, arguments, new.issued_by, key, lambda _store: None
        )
        return HashesLabelled.model_validate(values | {"matches": json.loads(values["matches"])})

    async def unlabel(
        self,
        bank: BankName,
        pdq: Annotated[str, Path(pattern=PDQ_PATTERN, description="64 hexadecimal digits")],
        issued_by: IssuedBy = "api",
        key: Key = "",
    ) -> HashesRemoved:
        """Take a hash out of a bank, with the labels of images that it matched. Decisions made before keep them."""
        values = await self._commands.run(
            UnlabelHashesArguments.command,
            {"bank": bank, "hashes": pdq},
            issued_by,
            key,
            lambda store: _check_inside(store, bank, pdq),
        )
        return HashesRemoved.model_validate(values)


def _check_inside(store: StoreView, bank: str, pdq: str) -> None:
    if store.hashes.find_many(bank, [bytes.fromhex(pdq)]) == [None]:
        raise NotFound(f"hash {pdq} is not in bank {bank!r}: GET /v1/hashes/{bank} lists what is")
