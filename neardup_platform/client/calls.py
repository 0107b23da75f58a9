"""One `Call` per endpoint: what is sent, and the type of the answer. Pure.

Method of a client → **call** → exchange → answer. Both clients use these functions, so a request is described once.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from os import PathLike
from typing import Any, BinaryIO, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote
from uuid import uuid4

from neardup_platform.client import answers
from neardup_platform.errors import InvalidRequest

T = TypeVar("T")

# A picture: its path, its bytes, or a binary file, which is read from its current position.
Picture = str | PathLike[str] | bytes | BinaryIO

# One side of a pair: the id of an image, a picture, or both vectors, lsh and pair. A text is an id, not a path.
PairSide = str | PathLike[str] | bytes | BinaryIO | tuple[Sequence[float], Sequence[float]]

# The API's bounds on `POST /v1/images:lookup`: ids, and bytes of the body with room for the JSON around them.
LOOKUP_IDS = 1_000
LOOKUP_BYTES = 1_000_000
# Members and overrides that one page can hold.
PAGE = 1_000
# Clusters that one page can hold with their first members.
SHOWING_PAGE = 100


class ClusterFilters(TypedDict, total=False):
    """Which clusters are listed, and in which order.

    Attributes:
        sort: `size`, the largest first, the default; `recent`, those that changed last first; or `oldest`.
        min_size, max_size: images, at least 2.
        changed_since: Unix milliseconds.
        bank: only clusters with a label of it.
        quarantined: True for those in quarantine only, False for those that are not.
        members: first members of each to return, 0…8.
    """

    sort: Literal["size", "recent", "oldest"]
    min_size: int
    max_size: int
    changed_since: int
    bank: str
    quarantined: bool
    members: int


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and the type of its answer.

    Every call may be repeated: those that change something carry an idempotency key.

    Attributes:
        path: percent-encoded.
        body: sent as JSON; None for no body.
        pictures: sent as a multipart form, by field.
        fields: other fields of the form.
        key: sent as `Idempotency-Key`.
    """

    method: str
    path: str
    answer: type[T]
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    key: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def lookup(image_id: str, at_ms: int | None, banks: Collection[str] | None) -> Call[answers.Image]:
    """The cluster of one image, now or at a time."""
    query: dict[str, str | int] = {} if at_ms is None else {"at": at_ms}
    if banks is not None:
        query["banks"] = ",".join(banks)
    return Call("GET", _path("images", image_id), answers.Image, query)


def lookup_many(image_ids: Iterable[str]) -> Iterator[Call[answers.Heads]]:
    """The clusters of any number of images, in as many calls as the API's bounds require."""
    chunk: list[str] = []
    size = 0
    for image_id in dict.fromkeys(image_ids):
        length = len(json.dumps(_checked(image_id))) + 2
        if len(chunk) == LOOKUP_IDS or (chunk and size + length > LOOKUP_BYTES):
            yield _lookup_chunk(chunk)
            chunk, size = [], 0
        chunk.append(image_id)
        size += length
    if chunk:
        yield _lookup_chunk(chunk)


def cluster(head: str) -> Call[answers.Cluster]:
    """One cluster, by its head or a former head."""
    return Call("GET", _path("clusters", head), answers.Cluster)


def clusters(limit: int, cursor: str | None, filters: ClusterFilters) -> Call[answers.Clusters]:
    """A page of the list of clusters."""
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in filters.items()}
    query: dict[str, Any] = {"limit": limit, **given}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", "/v1/clusters", answers.Clusters, query)


def members(head: str, limit: int, cursor: str | None) -> Call[answers.Members]:
    """A page of the members of a cluster."""
    query: dict[str, str | int] = {"limit": limit}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", _path("clusters", head, "members"), answers.Members, query)


def search(
    picture: Picture | None, lsh: Sequence[float] | None, pair: Sequence[float] | None, image_id: str | None = None
) -> Call[answers.SearchAnswer]:
    """Search by picture, by both vectors, or by the id of a stored image.

    Raises:
        InvalidRequest: none or several are given, the id is malformed, or a vector is not finite.
    """
    vectors = [vector for vector in (lsh, pair) if vector is not None]
    if [picture is None, not vectors, image_id is None].count(False) != 1 or len(vectors) == 1:
        raise InvalidRequest("search needs one of: a picture, both vectors (lsh and pair), or image_id")
    if image_id is not None:
        return Call("POST", "/v1/search", answers.SearchAnswer, body={"image_id": _checked(image_id)})
    if picture is not None:
        return Call("POST", "/v1/search", answers.SearchAnswer, pictures={"picture": picture})
    return Call("POST", "/v1/search", answers.SearchAnswer, body=_vectors(*vectors))


def compare(a: PairSide, b: PairSide) -> Call[answers.PairAnswer]:
    """Compare two images.

    Raises:
        InvalidRequest: an id is malformed, a vector is not finite, or a picture is compared with vectors.
    """
    sides = {"a": a, "b": b}
    pictures = {name: side for name, side in sides.items() if not isinstance(side, str | tuple)}
    ids = {name: _checked(side) for name, side in sides.items() if isinstance(side, str)}
    vectors = {name: _vectors(*side) for name, side in sides.items() if isinstance(side, tuple)}
    if pictures and vectors:
        raise InvalidRequest("a picture cannot be compared with vectors: give two pictures, or vectors of both")
    if pictures:
        return Call("POST", "/v1/pairs", answers.PairAnswer, pictures=pictures, fields=ids)
    body = vectors | {name: {"image_id": image_id} for name, image_id in ids.items()}
    return Call("POST", "/v1/pairs", answers.PairAnswer, body=body)


def explain(image_id: str) -> Call[answers.Explanation]:
    """Why an image is in its cluster."""
    return Call("GET", _path("images", image_id, "explanation"), answers.Explanation)


def history(image_id: str) -> Call[answers.History]:
    """Every decision made about an image."""
    return Call("GET", _path("images", image_id, "history"), answers.History)


def overrides(image_id: str | None, limit: int, after: str | None) -> Call[answers.Overrides]:
    """A page of the active overrides."""
    query: dict[str, str | int] = {"limit": limit}
    if image_id is not None:
        query["image_id"] = image_id
    if after is not None:
        query["after"] = after
    return Call("GET", "/v1/overrides", answers.Overrides, query)


def override(
    action: answers.OverrideAction,
    image_id: str,
    other_id: str,
    reason: str,
    issued_by: str,
    key: str,
    image_ids: Collection[str] = (),
) -> Call[answers.Correction]:
    """Create an override."""
    given = {"action": action, "image_id": image_id, "other_id": other_id, "reason": reason, "issued_by": issued_by}
    body: dict[str, Any] = given | ({"image_ids": list(image_ids)} if image_ids else {})
    return Call("POST", "/v1/overrides", answers.Correction, body=body, key=key or _new_key())


def remove_override(override_id: str, issued_by: str, key: str) -> Call[answers.Correction]:
    """Remove an override."""
    path = _path("overrides", override_id)
    return Call("DELETE", path, answers.Correction, {"issued_by": issued_by}, key=key or _new_key())


def label(
    image_id: str, bank: str, policy: str, action: str, reason: str, issued_by: str, key: str
) -> Call[answers.Labelled]:
    """Put an image into a bank."""
    body = {"image_id": image_id, "policy": policy, "action": action, "reason": reason, "issued_by": issued_by}
    return Call("POST", _path("banks", bank), answers.Labelled, body=body, key=key or _new_key())


def unlabel(image_id: str, bank: str, issued_by: str, key: str) -> Call[answers.Unlabelled]:
    """Take an image out of a bank."""
    path = _path("banks", bank, quote(_checked(image_id), safe=""))
    return Call("DELETE", path, answers.Unlabelled, {"issued_by": issued_by}, key=key or _new_key())


def banks() -> Call[answers.Banks]:
    """Every bank that has labels."""
    return Call("GET", "/v1/banks", answers.Banks)


def bank(name: str, limit: int, cursor: str | None) -> Call[answers.BankPage]:
    """A page of the labels of a bank."""
    query: dict[str, str | int] = {"limit": limit}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", _path("banks", name), answers.BankPage, query)


def label_hashes(
    hashes: Collection[str], bank: str, policy: str, action: str, reason: str, issued_by: str, key: str
) -> Call[answers.HashesLabelled]:
    """Put PDQ hashes into a bank."""
    terms = {"policy": policy, "action": action, "reason": reason, "issued_by": issued_by}
    body = {"hashes": list(hashes), **terms}
    return Call("POST", _path("hashes", bank), answers.HashesLabelled, body=body, key=key or _new_key())


def unlabel_hash(pdq: str, bank: str, issued_by: str, key: str) -> Call[answers.HashesRemoved]:
    """Take a PDQ hash out of a bank."""
    path = _path("hashes", bank, quote(pdq, safe=""))
    return Call("DELETE", path, answers.HashesRemoved, {"issued_by": issued_by}, key=key or _new_key())


def hashes(bank: str, limit: int, cursor: str | None) -> Call[answers.HashPage]:
    """A page of the PDQ hashes of a bank."""
    query: dict[str, str | int] = {"limit": limit}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", _path("hashes", bank), answers.HashPage, query)


def forget(image_id: str, issued_by: str, key: str) -> Call[answers.Forgotten]:
    """Remove an image for good."""
    path = _path("images", image_id)
    return Call("DELETE", path, answers.Forgotten, {"issued_by": issued_by}, key=key or _new_key())


def status() -> Call[answers.Status]:
    """Totals, and how fresh they are."""
    return Call("GET", "/v1/status", answers.Status)


def promotions() -> Call[answers.Promotions]:
    """Every change of the active classifier."""
    return Call("GET", "/v1/promotions", answers.Promotions)


def _lookup_chunk(image_ids: list[str]) -> Call[answers.Heads]:
    return Call("POST", "/v1/images:lookup", answers.Heads, body={"ids": image_ids})


def _vectors(lsh: Sequence[float], pair: Sequence[float]) -> dict[str, list[float]]:
    """Both vectors as JSON.

    Raises:
        InvalidRequest: one is not finite.
    """
    body = {name: [float(value) for value in vector] for name, vector in (("lsh", lsh), ("pair", pair))}
    for name, vector in body.items():
        if not all(map(isfinite, vector)):
            raise InvalidRequest(f"the vector {name} has a component that is not a finite number")
    return body


def _path(kind: str, name: str, *more: str) -> str:
    return "/".join(("/v1", kind, quote(_checked(name), safe=""), *more))


def _checked(name: str) -> str:
    if not name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InvalidRequest(f"{name!r} is not an id: an id is Unicode text of 1 to 512 bytes")
    return name


def _new_key() -> str:
    return uuid4().hex
