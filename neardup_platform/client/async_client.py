"""The asynchronous client: the methods of `sync_client.py`, awaited."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx
from tenacity import AsyncRetrying

from neardup_platform.client import answers, calls
from neardup_platform.client.calls import PAGE, SHOWING_PAGE, Call, ClusterFilters, PairSide, Picture
from neardup_platform.client.exchange import ATTEMPTS, TIMEOUT_S, Server, address_of, whole
from neardup_platform.settings import Settings

T = TypeVar("T")


class AsyncClient:
    """The asynchronous twin of `Client`: the same arguments, answers, errors and retries.

    Example:
        >>> async with AsyncClient("http://127.0.0.1:8000") as client:
        ...     async for member in client.members("bridge.jpg"):
        ...         print(member.image_id)

    Args:
        url, token, timeout_s, attempts: as of `Client`.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = TIMEOUT_S, attempts: int = ATTEMPTS
    ) -> None:
        self._server = Server.of(url, token, timeout_s, attempts)
        self._http = httpx.AsyncClient(**self._server.httpx_options())

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout_s: float = TIMEOUT_S, attempts: int = ATTEMPTS) -> Self:
        """A client of this machine's API.

        Args:
            settings: with the API's port filled in.
        """
        return cls(*address_of(settings), timeout_s=timeout_s, attempts=attempts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def lookup(
        self, image_id: str, at_ms: int | None = None, *, banks: Collection[str] | None = None
    ) -> answers.Image:
        """Return the cluster of an image, and its labels.

        Args:
            image_id: of the image.
            at_ms: Unix milliseconds: as it was then; None for now.
            banks: only labels of these banks; None for all.

        Raises:
            NotFound: the image has not been decided, or had not been then, or was forgotten.
        """
        return await self._send(calls.lookup(image_id, at_ms, banks))

    async def lookup_many(self, image_ids: Iterable[str]) -> dict[str, str]:
        """Return image id → head, for the images that are known; asks for up to 1,000 at a time."""
        heads: dict[str, str] = {}
        for call in calls.lookup_many(image_ids):
            heads |= (await self._send(call)).heads
        return heads

    async def cluster(self, head: str) -> answers.Cluster:
        """Return a cluster, by its head or a former head.

        Raises:
            NotFound: there is no such cluster.
        """
        return await self._send(calls.cluster(head))

    async def clusters(self, **filters: Unpack[ClusterFilters]) -> AsyncIterator[answers.ListedCluster]:
        """Yield the clusters of two or more images, the largest first, page by page."""
        cursor, limit = None, SHOWING_PAGE if filters.get("members") else PAGE
        while True:
            page = await self.clusters_page(limit, cursor, **filters)
            for cluster in page.clusters:
                yield cluster
            cursor = page.next_cursor
            if cursor is None:
                return

    async def clusters_page(
        self, limit: int = 100, cursor: str | None = None, **filters: Unpack[ClusterFilters]
    ) -> answers.Clusters:
        """Return one page of clusters; see `clusters`."""
        return await self._send(calls.clusters(limit, cursor, filters))

    async def members(self, head: str) -> AsyncIterator[answers.Member]:
        """Yield the members of a cluster, oldest first, page by page.

        Raises:
            NotFound: there is no such cluster.
        """
        cursor = None
        while True:
            page = await self.members_page(head, PAGE, cursor)
            for member in page.members:
                yield member
            cursor = page.next_cursor
            if cursor is None:
                return

    async def members_page(self, head: str, limit: int = 100, cursor: str | None = None) -> answers.Members:
        """Return one page of members; see `members`.

        Args:
            head: of the cluster.
            limit: members on the page, 1…1,000.
            cursor: `next_cursor` of the previous page.
        """
        return await self._send(calls.members(head, limit, cursor))

    async def search(
        self,
        picture: Picture | None = None,
        *,
        lsh: Sequence[float] | None = None,
        pair: Sequence[float] | None = None,
        image_id: str | None = None,
    ) -> answers.SearchAnswer:
        """Search by example, which changes nothing.

        Args:
            picture: a path, the bytes of a picture file, or a file opened for binary reading.
            lsh, pair: both vectors of the example, instead of a picture.
            image_id: of a stored image, instead of either: it is compared with all others, as if it arrived now.

        Raises:
            NotFound: there is no such image.
            TooCostly: decoding the picture takes more than the server allows.
            OSError: the file cannot be read.
        """
        return await self._send(calls.search(picture, lsh, pair, image_id))

    async def compare(self, a: PairSide, b: PairSide) -> answers.PairAnswer:
        """Compare two images, which changes nothing: their score, and where the pictures agree."""
        return await self._send(calls.compare(a, b))

    async def explain(self, image_id: str) -> answers.Explanation:
        """Return why an image is in its cluster.

        Raises:
            NotFound: the image has not been decided, or was forgotten.
        """
        return await self._send(calls.explain(image_id))

    async def history(self, image_id: str) -> list[answers.Explanation]:
        """Return every decision made about an image, oldest first.

        Raises:
            NotFound: the image has not been decided, or was forgotten.
        """
        return (await self._send(calls.history(image_id))).decisions

    async def overrides(self, image_id: str | None = None) -> AsyncIterator[answers.Override]:
        """Yield the active overrides, oldest first.

        Args:
            image_id: only those that name this image.
        """
        after = None
        while True:
            page = (await self._send(calls.overrides(image_id, PAGE, after))).overrides
            for override in page:
                yield override
            if len(page) < PAGE:
                return
            after = page[-1].override_id

    async def move(
        self, image_id: str, to: str, *, reason: str = "", issued_by: str = "api", key: str = ""
    ) -> answers.Correction:
        """Move an image to the cluster of another one, now and whenever it is decided again.

        Args:
            image_id: of the image to move.
            to: an image of the cluster it belongs to.
            reason, issued_by: kept with the override.
            key: the same key is carried out once, however often it is sent; empty for a new one.

        Raises:
            NotFound: an image is not known.
            Conflict: an active override contradicts it.
        """
        return await self._send(calls.override("move", image_id, to, reason, issued_by, key))

    async def alone(
        self, image_id: str, *, reason: str = "", issued_by: str = "api", key: str = ""
    ) -> answers.Correction:
        """Put an image into a cluster of its own, which it does not leave; see `move`."""
        return await self._send(calls.override("alone", image_id, "", reason, issued_by, key))

    async def forbid(
        self, image_id: str, other_id: str, *, reason: str = "", issued_by: str = "api", key: str = ""
    ) -> answers.Correction:
        """Keep two images in different clusters; see `move`."""
        return await self._send(calls.override("forbid", image_id, other_id, reason, issued_by, key))

    async def merge(
        self, image_id: str, other_id: str, *, reason: str = "", issued_by: str = "api", key: str = ""
    ) -> answers.Correction:
        """Make the clusters of two images one; the larger one keeps its head. See `move`."""
        return await self._send(calls.override("merge", image_id, other_id, reason, issued_by, key))

    async def split(
        self,
        image_id: str,
        image_ids: Collection[str],
        *,
        reason: str = "",
        issued_by: str = "api",
        key: str = "",
    ) -> answers.Correction:
        """Take images out of the cluster of an image, into one of their own; see `move`.

        Args:
            image_id: an image of the cluster, such as its head.
            image_ids: 1 to 1,000 members, but not all.
            reason, issued_by, key: as of `move`.
        """
        return await self._send(calls.override("split", image_id, "", reason, issued_by, key, image_ids))

    async def quarantine(
        self, image_id: str, *, reason: str = "", issued_by: str = "api", key: str = ""
    ) -> answers.Correction:
        """Let no new image join the cluster of an image by its matches, until the override is removed; see `move`."""
        return await self._send(calls.override("quarantine", image_id, "", reason, issued_by, key))

    async def remove_override(self, override_id: str, *, issued_by: str = "api", key: str = "") -> answers.Correction:
        """Remove an override; images stay where they are.

        Raises:
            NotFound: there is no such override.
        """
        return await self._send(calls.remove_override(override_id, issued_by, key))

    async def label(
        self,
        image_id: str,
        bank: str,
        policy: str,
        action: str,
        *,
        reason: str = "",
        issued_by: str = "api",
        key: str = "",
    ) -> answers.Labelled:
        """Put an image into a bank: the label applies to its cluster, and to every image that joins it.

        Args:
            image_id: an image of the cluster; the label follows it.
            bank: 1 to 64 of a-z, 0-9 and -.
            policy, action: for consumers, such as `hate` and `block`; at most 64 characters each.
            reason, issued_by, key: as of `move`.

        Raises:
            NotFound: the image is not known.
            Conflict: it is in the bank already.
        """
        return await self._send(calls.label(image_id, bank, policy, action, reason, issued_by, key))

    async def unlabel(self, image_id: str, bank: str, *, issued_by: str = "api", key: str = "") -> answers.Unlabelled:
        """Take an image out of a bank. Decisions made before keep the label.

        Raises:
            NotFound: the image is not in the bank.
        """
        return await self._send(calls.unlabel(image_id, bank, issued_by, key))

    async def label_hashes(
        self,
        hashes: Collection[str],
        bank: str,
        policy: str,
        action: str,
        *,
        reason: str = "",
        issued_by: str = "api",
        key: str = "",
    ) -> answers.HashesLabelled:
        """Put PDQ hashes into a bank: images within 31 bits of one are labelled, stored ones and those that come.

        Args:
            hashes: 1 to 2,000 of 64 hexadecimal digits.
            bank, policy, action: as of `label`; the action is not `never-match`.
            reason, issued_by, key: as of `move`.

        Raises:
            Conflict: a hash is in the bank with another policy or action, or there are too many.
        """
        return await self._send(calls.label_hashes(hashes, bank, policy, action, reason, issued_by, key))

    async def unlabel_hash(
        self, pdq: str, bank: str, *, issued_by: str = "api", key: str = ""
    ) -> answers.HashesRemoved:
        """Take a PDQ hash out of a bank, with the labels that it gave. Decisions made before keep them.

        Raises:
            NotFound: the hash is not in the bank.
        """
        return await self._send(calls.unlabel_hash(pdq, bank, issued_by, key))

    async def hashes(self, bank: str) -> AsyncIterator[answers.StoredHash]:
        """Yield the PDQ hashes of a bank, in order of hash."""
        cursor = None
        while True:
            page = await self._send(calls.hashes(bank, PAGE, cursor))
            for each in page.hashes:
                yield each
            cursor = page.next_cursor
            if cursor is None:
                return

    async def banks(self) -> list[answers.Bank]:
        """Return every bank that has labels or PDQ hashes, by name."""
        return (await self._send(calls.banks())).banks

    async def bank(self, bank: str) -> AsyncIterator[answers.StoredLabel]:
        """Yield the labels of a bank, in order of image id."""
        cursor = None
        while True:
            page = await self._send(calls.bank(bank, PAGE, cursor))
            for label in page.labels:
                yield label
            cursor = page.next_cursor
            if cursor is None:
                return

    async def forget(self, image_id: str, *, issued_by: str = "api", key: str = "") -> answers.Forgotten:
        """Remove an image, its vectors and its history for good.

        Raises:
            NotFound: the image is not known.
        """
        return await self._send(calls.forget(image_id, issued_by, key))

    async def status(self) -> answers.Status:
        """Return totals and how fresh they are."""
        return await self._send(calls.status())

    async def promotions(self) -> list[answers.Promotion]:
        """Return every change of the active classifier, newest first."""
        return (await self._send(calls.promotions())).promotions

    async def _send(self, call: Call[T]) -> T:
        call = whole(call)

        async def attempt() -> httpx.Response:
            with self._server.request(call) as arguments:
                return await self._http.request(**arguments)

        with self._server.explained():
            response: httpx.Response = await AsyncRetrying(**self._server.retry_options())(attempt)
        return self._server.answer(call, response)
