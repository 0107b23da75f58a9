"""The asset `stream/commands`: every command that the worker has handled, by whomever it was sent, as an observation.

Command line, API or run → worker → store → **observation**, recorded by the run that supervises the worker.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.stream_worker import stream_worker_asset
from resources.code_references import code_reference

if TYPE_CHECKING:
    from neardup_platform.operations.rocksdb_handled_commands import HandledCommand
    from neardup_platform.settings import Settings

_COUNTERS = ("commands_accepted", "commands_refused")

stream_commands_asset = dg.AssetSpec(
    key=["stream", "commands"],
    group_name="stream",
    kinds={"kafka"},
    owners=["team:operations"],
    tags={"neardup/kind": "operation"},
    metadata=code_reference(__file__),
    deps=[stream_worker_asset],
    description="What operators had the worker do: an observation for each command that it handled, accepted or "
    "refused, also of those sent by command line or API, within a minute or so.",
)


class NewCommands:
    """Which commands were handled since the last one that is recorded."""

    def __init__(self, instance: dg.DagsterInstance, settings: "Settings") -> None:
        self._instance, self._settings = instance, settings
        self._last: int | None = None
        self._counted: tuple[float, ...] | None = None

    def after(self, metrics: Mapping[str, float]) -> Iterator[dg.AssetObservation]:
        """The observations to record after a report of the worker; the store is read only if its counters moved.

        Raises:
            ServerUnavailable: the store cannot be read; the next report tries again.
        """
        from neardup_platform.operations.rocksdb_handled_commands import commands_since

        counted = tuple(metrics.get(name, 0.0) for name in _COUNTERS)
        if counted == self._counted:
            return
        last = self._recorded() if self._last is None else self._last
        for command in commands_since(self._settings, last):
            yield observation(self._settings, command)
            self._last = command.number
        self._counted = counted

    def _recorded(self) -> int:
        """The number of the newest command that is recorded; 0 for none."""
        records = self._instance.fetch_observations(stream_commands_asset.key, limit=1).records
        seen = records[0].asset_observation if records else None
        return int(str(seen.metadata["number"].value)) if seen else 0


def observation(settings: "Settings", command: "HandledCommand") -> dg.AssetObservation:
    """A command as an event."""
    outcome = "accepted" if command.accepted else f"refused: {command.reason}"
    name = command.name or "command"
    metadata: dict[str, Any] = {
        "number": command.number,
        "command": name,
        "issued_by": command.issued_by or "unknown",
        "accepted": command.accepted,
        "result": outcome,
        "finished": dg.MetadataValue.timestamp(command.finished_ms / 1_000),
        "after_decision": command.sequence,
        "command_id": command.command_id,
        "explorer": dg.MetadataValue.url(f"{settings.api.url}/"),
    }
    if (run_id := command.issued_by.removeprefix("Dagster run ")) != command.issued_by:
        metadata["run"] = dg.MetadataValue.dagster_run(run_id)
    return dg.AssetObservation(
        stream_commands_asset.key,
        description=f"{name} by {command.issued_by or 'unknown'}: {outcome}",
        metadata=metadata,
    )
