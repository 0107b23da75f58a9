"""`neardup parity` and `neardup cut-over`: taking over from another pipeline."""

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from neardup_platform.cli.output import emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option
from neardup_platform.errors import NeardupError
from neardup_platform.operations.cut_over_in_words import (
    cut_over_in_words,
    parity_in_words,
    plan_in_words,
    undo_in_words,
)
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.what_if.hours import HOURS_HELP, parse_hours
from neardup_platform.wire.command_arguments import CommandArguments, ShadowArguments

if TYPE_CHECKING:
    from neardup_platform.operations.cut_over import CarryOut
    from neardup_platform.operations.kafka_carry_out import Answer

_hours_option = click.option("--hours", default="", help=HOURS_HELP)


@click.command(epilog="Example:  neardup parity --hours 2026-01-01..2026-01-02")
@_hours_option
@json_option
def parity(hours: str, as_json: bool) -> None:
    """Compare our clusters with another pipeline's output on S3 (handover.prefix); changes nothing."""
    from neardup_platform.operations.cut_over import examples, parity_of

    settings = resolve(Settings())
    found, problem = parity_of(settings, parse_hours(hours, datetime.now(UTC)), report)
    answer = {"ready": not problem, "problem": problem, **found.flat(), "examples": examples(settings, found)}
    emit(answer, as_json, parity_in_words)


@click.command(name="cut-over", epilog="Example:  neardup cut-over --publish-differences --yes")
@click.option("--yes", is_flag=True, help="Carry it out; without it, show what would happen.")
@click.option("--undo", is_flag=True, help="Go back into shadow: no decision is published from then on.")
@click.option("--publish-differences", is_flag=True, help="Publish our decision about images with another head.")
@click.option("--force", is_flag=True, help="Cut over although the two pipelines do not agree enough.")
@click.option("--reason", default="", help="Why; needed with --force.")
@_hours_option
@timeout_option
@json_option
def cut_over(
    yes: bool,
    undo: bool,
    publish_differences: bool,
    force: bool,
    reason: str,
    hours: str,
    timeout_s: float,
    as_json: bool,
) -> int:
    """End the shadow: decisions are published, from the next one on."""
    settings = resolve(Settings())
    if undo:
        return _undo(settings, timeout_s, yes=yes, as_json=as_json)
    from neardup_platform.operations import cut_over as operation

    plan = operation.plan_cut_over(settings, parse_hours(hours, datetime.now(UTC)), report)
    if not yes:
        answer = {**plan.flat(), "examples": operation.examples(settings, plan.parity)}
        emit(answer, as_json, plan_in_words)
        return 0
    plan.check(force=force, reason=reason, publish_differences=publish_differences)
    done = operation.cut_over(
        settings, plan, _sender(settings, timeout_s), reason, publish_differences=publish_differences
    )
    emit(done, as_json, cut_over_in_words)
    return 0


def _undo(settings: Settings, timeout_s: float, *, yes: bool, as_json: bool) -> int:
    if not yes:
        emit(
            {"dry_run": True, "undo": True}, as_json, lambda _: "no decision would be published from then on: add --yes"
        )
        return 0
    return send_to_worker(settings, ShadowArguments(), as_json, undo_in_words, timeout_s)


def _sender(settings: Settings, timeout_s: float) -> "CarryOut":
    from neardup_platform.operations.kafka_carry_out import Issuer, carry_out

    def send(arguments: CommandArguments, _name: str) -> "Answer":
        answer = carry_out(settings, arguments, Issuer(getpass.getuser()), timeout_s, report)
        if not answer.accepted:
            raise NeardupError(answer.reason)
        return answer

    return send
