"""Orders to the worker: a command is sent, its result awaited, and then what readers see of it.

Call of the API → control topic → worker → result topic → **answer**. The API writes no state of its own.
"""

import time
from collections.abc import Mapping

from neardup_platform.errors import Conflict, PermanentError
from neardup_platform.kafka.control import new_command, run_command
from neardup_platform.serving.rocksdb_follower import MAX_AGE_S, StoreFollower
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.command_bounds import MAX_COMMAND_ID_BYTES

# A worker obeys between two steps; one that catches up after a start may take longer, and then the order waits for it.
PATIENCE_S = 30.0
_LOOK_S = 0.02


class Orders:
    """Sends commands and waits for them.

    Args:
        follower: what the answers of this API come from.
    """

    def __init__(self, settings: KafkaSettings, follower: StoreFollower) -> None:
        self._settings = settings
        self._follower = follower

    def carry_out(self, name: str, arguments: Mapping[str, str], issued_by: str, key: str) -> dict[str, str]:
        """Have a command carried out; when this returns, readers see what it has changed.

        Args:
            key: the same one is carried out once, however often it is sent; empty: a new one.

        Returns:
            `command_id`, and the values of the result.

        Raises:
            Conflict: the worker refused, in its own words.
            PermanentError: the key will not do.
            ServerUnavailable: Kafka or the worker did not answer; the command may yet be carried out.
        """
        if len(key.encode()) > MAX_COMMAND_ID_BYTES or not key.isprintable():
            raise PermanentError(f"the Idempotency-Key has 1 to {MAX_COMMAND_ID_BYTES} printable bytes")
        command = new_command(name, arguments, issued_by, key)
        result = run_command(self._settings, command, PATIENCE_S)
        if not result.accepted:
            raise Conflict(result.reason)
        self._seen(result.command_id)
        return {"command_id": result.command_id, **result.values}

    def _seen(self, command_id: str) -> None:
        deadline = time.monotonic() + MAX_AGE_S
        while time.monotonic() < deadline:
            if self._follower.read(lambda store: store.commands.find(command_id)) is not None:
                return
            time.sleep(_LOOK_S)
