"""Runs of the jobs of operations, in this process, as the Dagster UI shows them."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest

from definitions import defs
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings

OPS = {
    "snapshot": "take_snapshot",
    "prune_snapshots": "delete_old_snapshots",
    "rollback": "roll_back",
    "undo": "undo_rollback",
    "restore_on_empty_machine": "restore_newest_snapshot",
    "override": "correct_cluster",
    "override_csv": "correct_clusters",
    "label": "label_cluster",
    "label_hashes": "label_by_hashes",
    "bank_csv": "label_clusters",
    "forget": "forget_image",
    "forget_csv": "forget_images",
    "reprocess": "decide_all_again",
    "reprocess_images": "decide_images_again",
    "reprocess_hour": "decide_hour_again",
    "undo_reprocess": "return_images",
    "classifier_rollback": "return_to_classifier",
    "replay_dead_letters": "send_letters_again",
    "trace": "trace_image",
    "cut_over": "take_over",
    "undo_cut_over": "return_to_shadow",
}


@contextmanager
def variables(settings: Settings) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings).items():
            patch.setenv(name, value)
        yield


def configured(job: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"ops": {OPS[job]: {"config": config}}}


class Run:
    """A run of a job, and what the UI shows of it."""

    def __init__(
        self, job: str, instance: dg.DagsterInstance | None = None, partition: str | None = None, **config: Any
    ) -> None:
        with contextlib.nullcontext(instance) if instance else dg.DagsterInstance.ephemeral() as used:
            self._result = defs.resolve_job_def(job).execute_in_process(
                run_config=configured(job, config) if config or partition is None else None,
                partition_key=partition,
                instance=used,
                raise_on_error=False,
            )
            run = used.get_run_by_id(self._result.run_id)
        assert run is not None
        self.tags, self.status = run.tags, run.status
        self.run_id = self._result.run_id
        self.success = self._result.success

    @property
    def shown(self) -> dict[str, Any]:
        assert self.success, self.failure
        (output,) = self._result.filter_events(lambda event: event.is_successful_output)
        return {name: value.value for name, value in output.step_output_data.metadata.items()}

    @property
    def failure(self) -> str:
        """Why it failed, as the run's page begins."""
        assert not self.success
        (event,) = self._result.get_step_failure_events()
        failed = event.step_failure_data.user_failure_data
        return failed.description if failed else str(event.step_failure_data.error)

    @property
    def retries(self) -> int:
        return len(self._result.filter_events(lambda event: event.is_step_up_for_retry))
