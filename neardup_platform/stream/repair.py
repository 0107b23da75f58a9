"""Repairs the clusters of a store: of one whose worker is stopped, or of a snapshot before it becomes active."""

from dataclasses import dataclass

from neardup_platform.store.repair_plan import RepairPlan
from neardup_platform.store.survey import Finding, Survey
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import RedecideStep


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result of a repair.

    Attributes:
        mended: what was wrong and is repaired.
        decisions: images that have another head now; they are published when the worker runs again.
        left: what is still wrong.
    """

    mended: list[Finding]
    decisions: int
    left: list[str]


def repair(store: Store, now_ms: int) -> Repaired:
    """Repair a store in one write, and check it again.

    Args:
        now_ms: the clock, Unix milliseconds.
    """
    survey = Survey(store)
    decisions = repair_surveyed(store, survey, now_ms)
    after = Survey(store) if survey.findings else survey
    return Repaired(survey.findings, decisions, [found.what for found in after.findings] + after.beyond_repair)


def repair_surveyed(store: Store, survey: Survey, now_ms: int) -> int:
    """Repair what a survey found, in one write; returns how many images got another head.

    Args:
        survey: of this store, whose clusters have not changed since.
        now_ms: the clock, Unix milliseconds.
    """
    if not survey.findings:
        return 0
    plan = RepairPlan(store, survey, now_ms)
    commit(store, store.state(), RedecideStep(plan.write, plan.decisions), now_ms)
    store.flush()
    return len(plan.decisions)
