"""What may be asked of a list of clusters. Pure."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neardup_platform.serving.cluster_order import LEAST_SIZE, Selection, Sort
from neardup_platform.serving.cursors import MAX_LIST_CURSOR
from neardup_platform.wire.command_arguments import BANK_PATTERN

# Members shown of each cluster, and clusters on a page that shows any.
SHOWN_MEMBERS = 8
_SHOWING = 100
# Every integer up to it is exact in JSON.
_Number = Annotated[int, Field(lt=1 << 53)]


class ListQuery(BaseModel):
    """The query of `GET /v1/clusters`; a parameter of another name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sort: Sort = Field(
        Sort.SIZE,
        description="size: the largest first, among equal ones those that changed last; recent: those that changed "
        "last first; oldest: those that changed last come last",
    )
    min_size: _Number = Field(LEAST_SIZE, ge=LEAST_SIZE, description="least number of images")
    max_size: _Number | None = Field(None, ge=LEAST_SIZE, description="greatest number of images")
    changed_since: _Number = Field(0, ge=0, description="Unix milliseconds: it changed then or later")
    bank: str | None = Field(None, pattern=BANK_PATTERN, description="only clusters with a label of this bank")
    quarantined: bool | None = Field(
        None, description="true: only clusters in quarantine; false: only clusters that are not"
    )
    members: int = Field(0, ge=0, le=SHOWN_MEMBERS, description="first members to show of each, with `limit` ≤ 100")
    limit: int = Field(100, ge=1, le=1_000, description="clusters on the page")
    cursor: str | None = Field(None, max_length=MAX_LIST_CURSOR, description="`next_cursor` of the previous page")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_size is not None and self.max_size < self.min_size:
            raise ValueError(
                f"max_size {self.max_size} is less than min_size {self.min_size}: no cluster has such a size"
            )
        if self.members and self.limit > _SHOWING:
            raise ValueError(
                f"limit {self.limit} exceeds {_SHOWING}, the most with members: ask for fewer, or members=0"
            )
        return self

    @property
    def selection(self) -> Selection:
        """Order and bounds."""
        most = Selection().max_size if self.max_size is None else self.max_size
        return Selection(self.sort, self.min_size, most, self.changed_since)

    @property
    def name(self) -> str:
        """The same for every page of a list, and different for different lists."""
        return f"{self.selection} {self.bank} {self.quarantined}"
