"""Repairs the clusters of a store, with the worker stopped, or those of a snapshot before it becomes active."""

import time
from dataclasses import dataclass

from neardup_platform.store.repair_plan import RepairPlan
from neardup_platform.store.survey import Finding, Survey
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import Step, commit
from neardup_platform.stream.control.command import Outcome
from neardup_platform.wire.codec import encode_decision
from neardup_platform.wire.topics import DECISIONS


@dataclass(frozen=True, slots=True)
class Repaired:
    """What came of it.

    Attributes:
        mended: what was wrong.
        decisions: images that have another head now; they are published when the worker runs again.
        left: what is wrong still.
    """

    mended: list[Finding]
    decisions: int
    left: list[str]


def repair(store: Store) -> Repaired:
    """Mend in one write, and look again."""
    survey = Survey(store)
    decisions = mend(store, survey)
    after = Survey(store) if survey.findings else survey
    return Repaired(survey.findings, decisions, [found.what for found in after.findings] + after.beyond_repair)


def mend(store: Store, survey: Survey) -> int:
    """Mend what was found, in one write; returns how many images got another head.

    Args:
        survey: of this store, whose clusters were not changed since.
    """
    if not survey.findings:
        return 0
    plan = RepairPlan(store, survey, time.time_ns() // 1_000_000)
    said = [(DECISIONS, made.image_id.encode(), encode_decision(made)) for made in plan.decisions]
    commit(store, store.state(), Step(outcome=Outcome({}, said, plan.write)), ())
    store.flush()
    return len(plan.decisions)
