"""A worker that takes corrections, rollbacks and reprocessing, with snapshots in a folder instead of on S3."""

from collections.abc import Mapping
from pathlib import Path

from neardup_platform.matching import Matching
from neardup_platform.settings import Settings
from neardup_platform.store.swap import copy_store, next_path
from neardup_platform.store.writer import Store
from neardup_platform.stream.control.command import Handler
from neardup_platform.stream.corrections.forget import Forget
from neardup_platform.stream.corrections.override import Override
from neardup_platform.stream.reprocess.reprocess import Reprocess
from neardup_platform.stream.snapshots.restore import Restore
from neardup_platform.testing import MAX_REPRESENTATIVES, CosineScorer, small_term_space
from tests.stream.control_machine import ControlMachine
from tests.stream.small_rounds import SmallRounds

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


def corrections(settings: Settings, machine: ControlMachine) -> Mapping[str, Handler]:
    """The handlers of a machine."""
    again, version = machine.worker.again, SCORER.version
    return {
        "override": Override(again),
        "forget": Forget(machine.store, again, lambda _: None),
        "restore": FolderRestore(
            settings, machine.store, small_term_space().version, lambda: version, version, lambda _: None, lambda *_: {}
        ),
        "reprocess": Reprocess(settings, machine.store, lambda: machine.pipeline, lambda _: SmallRounds(SAME)),
    }


def give_up(machine: ControlMachine) -> None:
    """Close what a command left open."""
    for handler in machine.control._handlers.values():
        if isinstance(handler, Restore):
            handler.close()
        elif isinstance(handler, Reprocess):
            handler._give_up()
