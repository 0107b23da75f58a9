"""Claims about retries of a step: an error is retried, a run that a person terminates ends."""

import os
import signal
import time
from collections.abc import Callable

import dagster as dg
import pytest

from assets.retries import MOST, retried
from definitions import defs


def attempts(fail: Callable[[dg.AssetExecutionContext], None]) -> tuple[list[int], dg.DagsterRunStatus]:
    """The numbers of the retries of a step that does this, and the status of its run."""
    numbers: list[int] = []

    @dg.asset
    def step(context: dg.AssetExecutionContext) -> None:
        numbers.append(context.retry_number)
        with retried(context, delay_s=0.0):
            fail(context)

    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions([step], jobs=[dg.define_asset_job("j", [step])], executor=dg.in_process_executor)
        try:
            job.resolve_job_def("j").execute_in_process(instance=instance, raise_on_error=False)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            assert numbers
        (run,) = instance.get_runs()
        return numbers, run.status


def test_an_error_is_retried_a_few_times() -> None:
    def fail(_: dg.AssetExecutionContext) -> None:
        raise OSError("S3 does not answer")

    assert attempts(fail) == ([*range(MOST + 1)], dg.DagsterRunStatus.FAILURE)


@pytest.mark.parametrize(("allowed", "retries"), [(True, MOST), (False, 0)])
def test_a_failure_is_retried_if_it_allows_that(allowed: bool, retries: int) -> None:
    def fail(_: dg.AssetExecutionContext) -> None:
        raise dg.Failure("refused", allow_retries=allowed)

    assert attempts(fail) == ([*range(retries + 1)], dg.DagsterRunStatus.FAILURE)


def test_a_run_that_is_terminated_ends() -> None:
    def fail(context: dg.AssetExecutionContext) -> None:
        context.instance.report_run_canceling(context.run)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    numbers, status = attempts(fail)
    assert (numbers, status) == ([0], dg.DagsterRunStatus.CANCELED)


def test_no_step_of_ours_has_a_policy_that_would_retry_it_when_its_run_is_terminated() -> None:
    nodes = {node.name: node for job in defs.resolve_all_job_defs() for node in job.all_node_defs}
    policies = {name: node.retry_policy for name, node in nodes.items() if isinstance(node, dg.OpDefinition)}
    assert "bootstrap__images" in policies
    assert {name for name, policy in policies.items() if policy is not None} == set()
