"""Taking over from another pipeline: what a cut-over would do, whether it is allowed, and how it is carried out.

Hours of the other pipeline → parity → **plan → allowed? → `cut-over` → `publish-withheld`** → consumers

The worker cannot judge the gate, because it does not know the other pipeline; so the sender does, and a run or command
that goes ahead in spite of it says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from neardup_platform.client import Client
from neardup_platform.client.answers import Shadow
from neardup_platform.errors import BadCommand
from neardup_platform.handover.parity import Parity, judge_parity, measure_parity
from neardup_platform.operations.kafka_carry_out import Answer
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.stream.redecide.s3_selections import MAX_IMAGES, put_selection
from neardup_platform.wire.command_arguments import CommandArguments, CutOverArguments, PublishWithheldArguments

# Sends a command and returns its answer; the second argument tells the commands of one operation apart.
CarryOut = Callable[[CommandArguments, str], Answer]
Report = Callable[[str], None]

_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class CutOverPlan:
    """What a cut-over would do.

    Attributes:
        shadow: that it would end; None if the worker is not in shadow.
        sequence: of the last decision when the plan was made.
        parity: of the hours compared.
        problem: why the gate is red; empty if it is green.
    """

    shadow: Shadow | None
    sequence: int
    parity: Parity
    problem: str

    def check(self, *, force: bool, reason: str, publish_differences: bool) -> None:
        """Check that it may be carried out.

        Raises:
            BadCommand: the gate is red and it is not forced, it is forced without a reason, or too many images differ.
        """
        if self.problem and not force:
            raise BadCommand(f"not ready to cut over: {self.problem}. To cut over in spite of it: force, with a reason")
        if self.problem and not reason:
            raise BadCommand("a cut-over in spite of a red gate needs a reason, which is kept with the change")
        if publish_differences and self.parity.heads_differ > MAX_IMAGES:
            raise BadCommand(
                f"{self.parity.heads_differ:,} images have another head here, at most {MAX_IMAGES:,} are published "
                "by one run: compare fewer hours"
            )

    def flat(self) -> dict[str, Any]:
        """The plan by name."""
        return {
            "dry_run": True,
            "in_shadow": self.shadow is not None,
            "since_ms": self.shadow.since_ms if self.shadow else 0,
            "withheld": self.shadow.withheld if self.shadow else 0,
            "sequence": self.sequence,
            "ready": not self.problem,
            "problem": self.problem,
            **self.parity.flat(),
        }


def parity_of(settings: Settings, hours: Sequence[datetime], report: Report) -> tuple[Parity, str]:
    """Compare some hours; returns why the gate is red, or an empty text.

    Raises:
        NeardupError: as of `measure_parity`.
    """
    found = measure_parity(settings, open_s3(settings.s3), hours, report)
    return found, judge_parity(found, settings.handover)[0].problem or ""


def plan_cut_over(settings: Settings, hours: Sequence[datetime], report: Report = lambda _: None) -> CutOverPlan:
    """What a cut-over would do now.

    Args:
        settings: resolved.
        hours: of the other pipeline's output to compare with.
        report: called with what is being done.

    Raises:
        NeardupError: as of `measure_parity`; the API does not answer.
    """
    with Client.from_settings(settings) as api:
        status = api.status()
    parity, problem = parity_of(settings, hours, report)
    return CutOverPlan(status.shadows[-1] if status.in_shadow else None, status.sequence, parity, problem)


def cut_over(
    settings: Settings, plan: CutOverPlan, carry_out: CarryOut, reason: str, *, publish_differences: bool
) -> dict[str, Any]:
    """Carry out a plan that `check` allows; returns the results by name.

    Raises:
        NeardupError: a command is refused, or a server does not answer. Called again with the same command ids, it
            does what is left.
    """
    ids = plan.parity.other_heads if publish_differences else ()
    selection = put_selection(open_s3(settings.s3), settings.s3.bucket, ids) if ids else None
    answer = carry_out(CutOverArguments(reason=reason), "").flat()
    done: dict[str, Any] = {"published": 0, "unknown": 0, "published_before": 0}
    if selection is not None:
        done |= carry_out(PublishWithheldArguments(selection=selection), "differences").values
    return {**answer, **done, "ready": not plan.problem, "other_heads": plan.parity.heads_differ}


def examples(settings: Settings, parity: Parity) -> list[dict[str, Any]]:
    """The largest disagreements, with the pages of two images of each."""
    return [
        {
            **asdict(each),
            "one_page": settings.api.image_page(each.one),
            "other_page": settings.api.image_page(each.other),
        }
        for each in parity.disagreements[:_EXAMPLES]
    ]
