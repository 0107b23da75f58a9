"""The body of a problem document (RFC 9457)."""

from pydantic import BaseModel, Field


class InvalidPart(BaseModel):
    """One thing wrong with a request."""

    where: str
    message: str


class Problem(BaseModel):
    """An error, as of RFC 9457."""

    type: str = Field(description="a reference to what it means, relative to this server")
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[InvalidPart] | None = None
