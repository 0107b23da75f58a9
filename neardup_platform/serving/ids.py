"""Image ids in requests: percent-encoded in paths, plain in bodies. Pure."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator

from neardup_platform.wire.validation import MAX_ID_BYTES


def checked_length(image_id: str) -> str:
    """An id of a length that an image can have.

    Raises:
        ValueError: it is empty or too long.
    """
    if not 0 < len(image_id.encode(errors="surrogatepass")) <= MAX_ID_BYTES:
        raise ValueError(f"an id has 1 to {MAX_ID_BYTES} bytes")
    return image_id


def decode_id(raw: str) -> str:
    """An id from its percent-encoded part of a path.

    Raises:
        ValueError: not UTF-8, or longer than any id.
    """
    try:
        decoded = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("an id is percent-encoded UTF-8") from None
    return checked_length(decoded)


Id = Annotated[
    str,
    Path(description='percent-encoded; "/" may stay as it is', examples=["cat.jpg"]),
    AfterValidator(decode_id),
]
