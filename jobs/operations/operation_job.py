"""Makes a job of an operation: one op that sends a command, or calls an engine function, and reports its result.

Launch → config checked → **command sent under the id of the root run → the worker's answer** → metadata of the op.

A run that is executed again is the same command: the worker answers a command that it has handled with its first
result. What cannot succeed by repeating fails at once, with the reason first; a server that does not answer, neither
this run nor the worker, is tried again a few times, and by executing the run again. A run that is terminated in Dagster
cancels its command, so nothing happens after its end; one that dies, or that ends with the platform, leaves its command
to the worker.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from pydantic import Field

from neardup_platform.counted import counted
from neardup_platform.errors import NeardupError, RetryableError, ServerUnavailable
from neardup_platform.operations.in_words import command_in_words
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import CommandArguments, OverrideArguments
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.operations.kafka_carry_out import Answer

OPERATION_TAGS = {"neardup/kind": "operation"}
# Of a run: the id of its command, which history, lists and the worker's log name.
COMMAND_TAG = "neardup/command"
_RETRIES = 3
_RETRY_S = 5
# The least wait of a try after the others have used up the time: enough for an answer that is stored.
_LEAST_S = 10.0


class OperationConfig(dg.Config):
    """What every operation can be told."""

    timeout_s: float = Field(
        600.0,
        ge=1,
        le=86_400,
        description="How long to wait for the worker's answer, all tries together, in seconds, 1 to 86400. After that "
        "the run fails, and the command stays with the worker: executing the run again waits for the same command.",
    )


class DryRunConfig(OperationConfig):
    """What an operation that moves something can be told."""

    dry_run: bool = Field(
        True, description="true: show what would happen, and change nothing. Set false to carry it out."
    )


ConfigT = TypeVar("ConfigT", bound=OperationConfig)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run shows when it has succeeded.

    Attributes:
        summary: in words.
        metadata: of the op.
    """

    summary: str
    metadata: Mapping[str, dg.MetadataValue[Any]] = field(default_factory=dict)


class Operation:
    """What the body of an operation works with.

    Attributes:
        context: of the op, to record events with.
        settings: resolved.
        issuer: names the run; its command id is that of the root run.
    """

    def __init__(self, context: dg.OpExecutionContext, settings: Settings, config: OperationConfig) -> None:
        from neardup_platform.operations.kafka_carry_out import Issuer

        self.context, self._timeout_s, self._sent = context, config.timeout_s, False
        self.settings = settings
        root = context.run.root_run_id or context.run_id
        self.issuer: Issuer = Issuer(f"Dagster run {root}", f"dagster-{root}")
        # Of the command that is sent last.
        self._current = self.issuer

    def report(self, line: str) -> None:
        """Log a line of running work."""
        self.context.log.info(line)

    def carry_out(self, arguments: CommandArguments, name: str = "") -> "Answer":
        """Send a command and wait for its result.

        Args:
            name: tells the commands of a run apart that sends several; empty for the first.

        Raises:
            dagster.Failure: the worker refused; the text is the worker's.
            ServerUnavailable: the worker refused temporarily, because a server does not answer it.
            NeardupError: as of the engine's `carry_out`.
        """
        from neardup_platform.operations.kafka_carry_out import Issuer, carry_out

        if name:
            self._current = Issuer(self.issuer.name, f"{self.issuer.command_id}-{name}")
        timeout_s = self._begin(command_in_words(arguments))
        answer = carry_out(self.settings, arguments, self._current, timeout_s, self.report)
        if answer.temporary:
            raise ServerUnavailable(f"{answer.reason} (so said the worker of command {answer.command_id})")
        if not answer.accepted:
            raise dg.Failure(
                f"{answer.reason} (the worker refused command {answer.command_id}; correct it and launch a new run)",
                metadata={"command_id": dg.MetadataValue.text(answer.command_id)},
                allow_retries=False,
            )
        return answer

    def correct_all(self, corrections: Sequence[OverrideArguments]) -> list["Answer"]:
        """Send overrides in order and wait for all results, accepted or not."""
        from neardup_platform.operations.kafka_carry_out import correct_all

        timeout_s = self._begin(f"{counted(len(corrections), 'override')}")
        return correct_all(self.settings, corrections, self.issuer, timeout_s, self.report)

    def correct_in_batches(self, corrections: Sequence[CommandArguments]) -> list["Answer"]:
        """Send labels, lists of hashes or images to forget, and wait for all results, accepted or not."""
        from neardup_platform.operations.kafka_carry_out import correct_in_batches

        timeout_s = self._begin(counted(len(corrections), "command"))
        return correct_in_batches(self.settings, corrections, self.issuer, timeout_s, self.report)

    def call_off(self) -> None:
        """Cancel what this run has sent, if anything, and if it was Dagster that was asked to end the run."""
        from neardup_platform.operations.kafka_carry_out import call_off

        run = self.context.instance.get_run_by_id(self.context.run_id)
        if not self._sent or run is None or run.status is not dg.DagsterRunStatus.CANCELING:
            return
        try:
            by = call_off(self.settings, self._current)
        except NeardupError as error:
            self.context.log.error(f"command {self._current.command_id} could not be cancelled: {error}")
        else:
            self.context.log.warning(f"cancelled command {self._current.command_id} by {by}: finished stages stay done")

    def _begin(self, what: str) -> float:
        """Record that a command is about to be sent; returns how long to wait for its result, in seconds."""
        self._sent, command_id = True, self._current.command_id
        self.context.instance.add_run_tags(self.context.run_id, {COMMAND_TAG: self.issuer.command_id})
        record = self.context.instance.get_run_record_by_id(self.context.run_id)
        passed_s = time.time() - ((record and record.start_time) or time.time())
        timeout_s = max(min(_LEAST_S, self._timeout_s), self._timeout_s - passed_s)
        self.report(f"sending {what} as command {command_id}, waiting up to {timeout_s:.0f} s for a result")
        return timeout_s


def operation(
    op: str,
    config: type[ConfigT],
    does: str,
    partitions: dg.PartitionedConfig[dg.PartitionsDefinition[str]] | dg.PartitionsDefinition[str] | None = None,
) -> Callable[[Callable[[Operation, ConfigT], Outcome]], dg.JobDefinition]:
    """Make a job of a function, named after it.

    Args:
        op: name of its op, under which its configuration is given.
        config: what a launch can set.
        does: the description.
        partitions: what a launch is for one of; a `PartitionedConfig` also says what that sets.
    """

    def job_of(body: Callable[[Operation, ConfigT], Outcome]) -> dg.JobDefinition:
        def run(context: dg.OpExecutionContext, config: Any, platform: PlatformResource) -> None:
            _run(body, context, config, platform)

        run.__annotations__["config"] = config
        one_op = dg.op(name=op, description=does, tags=OPERATION_TAGS)(run)

        launched: dict[str, Any] = {}
        if partitions is not None:
            launched["config" if isinstance(partitions, dg.PartitionedConfig) else "partitions_def"] = partitions

        @dg.job(name=body.__name__, description=does, tags=OPERATION_TAGS, **launched)
        def job() -> None:
            one_op()

        return job

    return job_of


def _run(
    body: Callable[[Operation, ConfigT], Outcome],
    context: dg.OpExecutionContext,
    config: ConfigT,
    platform: PlatformResource,
) -> None:
    """Carry out an operation; see the top of this file for how it fails.

    Raises:
        dagster.Failure: it failed for good.
        dagster.RetryRequested: a server did not answer.
    """
    operation = None
    try:
        operation = Operation(context, platform.settings(), config)
        outcome = body(operation, config)
    except RetryableError as error:
        if context.retry_number >= _RETRIES:
            again = f"{error} (tried {_RETRIES + 1} times; re-execute this run when it can succeed)"
            raise dg.Failure(again, allow_retries=False) from error
        context.log.warning(f"{error}; trying again in {_RETRY_S} s")
        raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_RETRY_S) from error
    except NeardupError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    except dg.DagsterExecutionInterruptedError:
        if operation is not None:
            operation.call_off()
        raise
    context.log.info(outcome.summary)
    context.add_output_metadata({"summary": dg.MetadataValue.text(outcome.summary), **outcome.metadata})
