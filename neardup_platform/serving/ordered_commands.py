"""Commands of API calls: checked against the store, sent to the worker, and answered once readers see the change."""

from collections.abc import Callable, Mapping
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Header, Query

from neardup_platform.serving.kafka_commands import WorkerCommands
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.store.view import StoreView

# Each call waits for the worker with a Kafka connection of its own.
_AT_ONCE = 4
MAX_NAME = 200

IssuedBy = Annotated[
    str, Query(min_length=1, max_length=MAX_NAME, description="who is responsible; kept with the change")
]
Key = Annotated[
    str,
    Header(alias="Idempotency-Key", max_length=128, description="a repeated request with the same key does nothing"),
]


class OrderedCommands:
    """Sends commands to the worker, a few at a time."""

    def __init__(self, commands: WorkerCommands, follower: StoreFollower) -> None:
        self._commands = commands
        self._follower = follower
        self._at_once = CapacityLimiter(_AT_ONCE)

    async def run(
        self, name: str, arguments: Mapping[str, str], issued_by: str, key: str, check: Callable[[StoreView], None]
    ) -> dict[str, str]:
        """Run a command; see `WorkerCommands.run`.

        Args:
            check: raises where the command can have no effect; not called for a command that was carried out.
        """

        def run() -> dict[str, str]:
            with self._follower.reading() as store:
                if not key or store.commands.find(key) is None:
                    check(store)
            return self._commands.run(name, arguments, issued_by, key)

        return await to_thread.run_sync(run, limiter=self._at_once)
