"""A worker that takes corrections, rollbacks and reprocessing, with snapshots in a folder instead of on S3."""

from collections.abc import Sequence
from pathlib import Path

from neardup_platform.matching import Matching
from neardup_platform.settings import Settings
from neardup_platform.store.swap import copy_store, next_path
from neardup_platform.store.writer import Store
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.reprocess.reprocess import Reprocess
from neardup_platform.stream.snapshots.restore import Restore
from neardup_platform.testing import MAX_REPRESENTATIVES, CosineScorer
from neardup_platform.wire.command_arguments import (
    ForgetArguments,
    LabelArguments,
    LabelHashesArguments,
    OverrideArguments,
    ReprocessArguments,
    RestoreArguments,
    UnlabelArguments,
    UnlabelHashesArguments,
)
from tests.stream.control_machine import ControlMachine
from tests.stream.reprocess.small_rounds import SmallRounds
from tests.stream.small_files import SmallFiles

SCORER = CosineScorer()
SAME = Matching(1_000, 0, SCORER.threshold, SCORER.head_threshold, MAX_REPRESENTATIVES)


class FolderRestore(Restore):
    """A restore from snapshots that lie in a folder."""

    def _fetch(self, snapshot: str) -> str:
        copy_store(self._settings.home / snapshot, next_path(self._settings.store_path))
        return SCORER.version


def snapshot(store: Store, folder: Path) -> None:
    store.flush()
    store.checkpoint(folder)


def nothing_deleted(*_: object) -> dict[str, int | None]:
    return {}


def corrections(settings: Settings, machine: ControlMachine) -> Sequence[RegisteredCommand]:
    """The commands of a machine."""
    worker, version, clock = machine.worker, SCORER.version, machine.clock
    restore = FolderRestore(
        *(settings, machine.store, machine.pipeline, version, lambda _: None, nothing_deleted),
        clock,
        models=SCORER.required_models,
        launch=lambda _: SmallFiles(),
    )
    reprocess = Reprocess(settings, machine.store, machine.pipeline, lambda _: SmallRounds(SAME, clock))
    return [
        register(OverrideArguments, worker.override_handler, prompt=True),
        register(ForgetArguments, worker.forget_handler, prompt=True),
        register(LabelArguments, worker.label_handler, prompt=True),
        register(UnlabelArguments, worker.unlabel_handler, prompt=True),
        register(LabelHashesArguments, worker.label_hashes_handler),
        register(UnlabelHashesArguments, worker.unlabel_hashes_handler),
        register(RestoreArguments, restore),
        register(ReprocessArguments, reprocess),
    ]


def give_up(machine: ControlMachine) -> None:
    """Close what a command left open, once nothing is being prepared."""
    machine.control.close(20)
    for registered in machine.commands.values():
        if isinstance(registered.handler, Restore | Reprocess):
            registered.handler.close()
