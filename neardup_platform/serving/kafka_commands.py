"""Commands to the worker: sent, answered, and visible to readers.

Call of the API → control topic → worker → result topic → **answer**. The API writes no state itself.
"""

import time
from collections.abc import Mapping

from neardup_platform.errors import BadCommand, Conflict, PermanentError, ServerUnavailable
from neardup_platform.kafka.control import new_command, run_command
from neardup_platform.serving.rocksdb_follower import MAX_AGE_S, StoreFollower
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.command_arguments import COMMANDS
from neardup_platform.wire.command_bounds import MAX_COMMAND_ID_BYTES

# The worker applies commands between two steps. While it catches up after a start, a command waits.
RESULT_TIMEOUT_S = 30.0
_POLL_S = 0.02


class WorkerCommands:
    """Sends commands and waits for their results.

    Args:
        follower: what this API answers from.
    """

    def __init__(self, settings: KafkaSettings, follower: StoreFollower) -> None:
        self._settings = settings
        self._follower = follower

    def run(self, name: str, arguments: Mapping[str, str], issued_by: str, key: str) -> dict[str, str]:
        """Run a command. When this returns, readers see what it changed.

        Args:
            name: of the command.
            arguments: of the command.
            issued_by: who is responsible; kept with the change.
            key: a command with the same key runs once, however often it is sent; empty for a new key.

        Returns:
            `command_id`, and the values of the result.

        Raises:
            Conflict: the worker refused; the text is the worker's.
            PermanentError: the key is malformed.
            ServerUnavailable: Kafka or the worker did not answer, and the command may still run; or a server that the
                worker needs did not answer it.
        """
        if len(key.encode()) > MAX_COMMAND_ID_BYTES or not key.isprintable():
            raise PermanentError(f"the Idempotency-Key has 1 to {MAX_COMMAND_ID_BYTES} printable bytes")
        try:
            checked = COMMANDS[name].parse(arguments)
        except BadCommand as error:
            raise Conflict(str(error)) from error
        command = new_command(name, checked.to_wire(), issued_by, key)
        result = run_command(self._settings, command, RESULT_TIMEOUT_S)
        if not result.accepted:
            raise ServerUnavailable(result.reason) if result.temporary else Conflict(result.reason)
        self._wait_until_visible(result.command_id)
        return {"command_id": result.command_id, **result.values}

    def _wait_until_visible(self, command_id: str) -> None:
        deadline = time.monotonic() + MAX_AGE_S
        while time.monotonic() < deadline:
            if self._follower.read(lambda store: store.commands.find(command_id)) is not None:
                return
            time.sleep(_POLL_S)
