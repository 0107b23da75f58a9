"""Work that is cancelled when the client closes its connection."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import create_task_group
from fastapi import Request

from neardup_platform.images.decoding.cancellation import Cancellation

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client closed the connection before the answer was ready."""


async def while_connected(request: Request, work: Callable[[Cancellation], Awaitable[T]]) -> T:
    """Return the result of `work`; cancel it when the client closes its connection.

    Args:
        request: its body has been read.
        work: takes a cancellation, with which work in threads registers.

    Raises:
        ClientDisconnected: the connection was closed first.
    """
    cancellation = Cancellation()
    results: list[T] = []
    failure: Exception | None = None

    async with create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            cancellation.cancel()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            results.append(await work(cancellation))
        except Exception as error:  # noqa: BLE001 -- raised again outside the group, which would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if results:
        return results[0]
    if cancellation.cancelled or failure is None:
        raise ClientDisconnected
    raise failure
