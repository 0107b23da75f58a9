"""What other thresholds or another classifier would have decided about the traffic of chosen hours; changes nothing.

Decisions of the hours → columns → **replay as it was, replay as it would be, difference** → command line, Dagster,
report. A threshold needs nothing but the records; a classifier scores the recorded candidates again.
"""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from neardup_platform.client import Client
from neardup_platform.client.answers import Override
from neardup_platform.clusters.override_conflicts import MAX_OVERRIDES
from neardup_platform.counted import counted
from neardup_platform.decide import RECORDED_CANDIDATES
from neardup_platform.errors import BadCommand, NeardupError, NotFound, SetupError
from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
from neardup_platform.matching import RECORDED_SCORE_FLOOR, Matching
from neardup_platform.scoring.card import Card, read_card
from neardup_platform.settings import Settings
from neardup_platform.what_if.duckdb_recorded import read_recorded
from neardup_platform.what_if.labelled import LabelledPairs, labelled_pairs, labels_of
from neardup_platform.what_if.question import Question
from neardup_platform.what_if.recorded import Recorded
from neardup_platform.what_if.replay import (
    Rule,
    Standing,
    constant_rule,
    recorded_evidence,
    recorded_rule,
    replay,
    rule_of,
    settled,
    standing_of,
)
from neardup_platform.what_if.rescoring import Rescored, rescore
from neardup_platform.what_if.s3_decisions import DecisionFiles, get_decisions, opened_store
from neardup_platform.what_if.trial import THRESHOLDS, Example, Trial, examples, run_trial

Report = Callable[[str], None]

_CANDIDATES_NOTE = (
    f"Candidates are those recorded: at most {RECORDED_CANDIDATES} of an image, with a score of {RECORDED_SCORE_FLOOR} "
    "or more by the classifier in use; what lies below is not seen."
)
_CLUSTERS_NOTE = (
    "Clusters form in the recorded order; those that began before these hours count only the members that the records "
    "name, and an image moves along with the head of its cluster."
)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer.

    Attributes:
        question: what was tried.
        decisions: where they came from.
        recorded: what was read.
        reproduced: share of images that a replay of the recorded rule puts where they are.
        match, head: constant thresholds that were tried; None where they follow the classifier's table.
        trial: what would change.
        by_threshold: the same over match thresholds, ascending; the head threshold is at most the match threshold.
        labels: number of labelled pairs.
        rescored: what was scored again; None without a classifier.
        examples: images that would be elsewhere.
        notes: what the answer leaves out, one sentence each.
    """

    question: Question
    decisions: DecisionFiles
    recorded: Recorded
    reproduced: float
    match: float | None
    head: float | None
    trial: Trial
    by_threshold: list[dict[str, Any]]
    labels: int
    rescored: Rescored | None
    examples: list[Example]
    notes: list[str]

    def flat(self) -> dict[str, Any]:
        """The answer by name, as the command line prints it."""
        hours, again = self.question.hours, self.rescored
        return {
            "first_hour": f"{hours[0]:%Y-%m-%dT%H}",
            "last_hour": f"{hours[-1]:%Y-%m-%dT%H}",
            "hours_missing": self.decisions.hours_missing,
            "source": self.decisions.source,
            "match": self.match,
            "head": self.head,
            "classifier": self.question.classifier,
            "classifiers_in_use": dict(self.recorded.classifiers),
            "images": len(self.recorded),
            "reproduced": self.reproduced,
            **self.trial.flat(),
            "labelled_pairs": self.labels,
            "rescored_images": again and again.images,
            "rescored_pairs": again and again.pairs,
            "left_out": again and again.left_out,
            "by_threshold": self.by_threshold,
            "examples": [asdict(example) for example in self.examples],
            "notes": self.notes,
        }


def what_if(settings: Settings, question: Question, report: Report = lambda _: None) -> WhatIf:
    """Answers a question; nothing is written to the platform.

    Args:
        settings: resolved.
        question: what to try.
        report: called with what is being done.

    Raises:
        NotFound: these hours hold no decision, or a classifier does not exist.
        BadCommand: the thresholds contradict each other, or the hours hold too much.
        BadArtefact: the classifier does not fit the stored embeddings.
        SetupError: a classifier needs the vectors, and there is no store on this machine.
        ServerUnavailable: S3 does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="neardup-what-if-") as name:
        folder = Path(name)
        report(f"reading the decisions of {counted(len(question.hours), 'hour')}")
        decisions = get_decisions(settings, question.hours, folder)
        least = 0.0 if question.classifier else min(*THRESHOLDS, question.match or 1.0)
        recorded = read_recorded(decisions.files, folder, least)
        card = _card_in_use(settings, recorded)
        overrides = _overrides(settings)
        labels = labelled_pairs(recorded, (label for each in overrides for label in labels_of(each)))
        standing = standing_of(recorded, overrides)
        rescored = _rescored(settings, question, recorded, folder, report) if question.classifier else None
        report(f"deciding {len(recorded):,} images again")
        return _answer(settings, question, decisions, recorded, card, labels, rescored, standing)


def _answer(
    settings: Settings,
    question: Question,
    decisions: DecisionFiles,
    recorded: Recorded,
    card: Card | None,
    labels: LabelledPairs,
    rescored: Rescored | None,
    standing: Standing,
) -> WhatIf:
    candidate = read_card(classifier_folder(settings, question.classifier)) if question.classifier else card
    matching = _matching(settings, question, candidate)
    guard, passed_over = matching.guard, card.passed_over if card else None
    recorded_as = recorded_evidence(recorded, standing)
    before = replay(recorded, recorded_as, recorded_rule(recorded, guard, passed_over))
    evidence = replace(rescored.evidence, standing=standing) if rescored else recorded_as
    undistinctive = rescored.undistinctive if rescored else recorded.undistinctive

    def tried(rule: Rule) -> Trial:
        return run_trial(recorded, before, evidence, rule, labels)

    trial = tried(rule_of(matching, recorded.corpus_images, undistinctive))
    rows = []
    for match in sorted({*THRESHOLDS, *([question.match] if question.match else ())}):
        head = min(matching.head_threshold, match)
        found = tried(constant_rule(recorded, match, head, guard, matching.passed_over))
        rows.append({"match": match, "head": head, **found.flat()})
    fixed = matching.table is None
    return WhatIf(
        question=question,
        decisions=decisions,
        recorded=recorded,
        reproduced=float((before.head == settled(recorded.homes))[: len(recorded)].mean()),
        match=matching.threshold if fixed else None,
        head=matching.head_threshold if fixed else None,
        trial=trial,
        by_threshold=rows,
        labels=len(labels),
        rescored=rescored,
        examples=examples(recorded, before, trial, evidence),
        notes=_notes(recorded, decisions, trial, rescored, labels),
    )


def _card_in_use(settings: Settings, recorded: Recorded) -> Card | None:
    """The card of the classifier that made most of the decisions; None if it cannot be had."""
    version = max(recorded.classifiers, key=lambda each: recorded.classifiers[each])
    with suppress(NeardupError):
        return read_card(classifier_folder(settings, version))
    return None


def _matching(settings: Settings, question: Question, card: Card | None) -> Matching:
    """The thresholds to try, as the settings and the card would give them."""
    given = {"threshold": question.match, "head_threshold": question.head}
    scoring = settings.scoring.model_copy(update={name: value for name, value in given.items() if value is not None})
    if card is None:
        raise NotFound("the classifier that made these decisions is neither on this machine nor in the registry")
    matching = Matching.of(settings.model_copy(update={"scoring": scoring}), card)
    if matching.head_threshold > matching.threshold:
        raise BadCommand(
            f"the head threshold {matching.head_threshold:.3f} is above the match threshold {matching.threshold:.3f}: "
            "give both"
        )
    return matching


def _rescored(settings: Settings, question: Question, recorded: Recorded, folder: Path, report: Report) -> Rescored:
    from neardup_platform.scoring.keras_classifier import load_classifier

    scoring = settings.scoring
    classifier = load_classifier(classifier_folder(settings, question.classifier), scoring.threads, scoring.kinds)
    done = 0

    def progress(pairs: int) -> None:
        nonlocal done
        done += pairs
        report(f"{done:,} candidates scored by {question.classifier}")

    try:
        with opened_store(settings, folder / "vectors") as store:
            return rescore(recorded, store, classifier, question.most_pairs, progress)
    except SetupError as error:
        raise SetupError(
            f"a classifier needs the vectors of the images: {error}; run this on the worker's machine"
        ) from error


def _overrides(settings: Settings) -> list[Override]:
    """The active overrides, as the API has them; none if it does not answer."""
    with suppress(NeardupError), Client.from_settings(settings, attempts=1) as api:
        return list(islice(api.overrides(), MAX_OVERRIDES))
    return []


def _notes(
    recorded: Recorded, decisions: DecisionFiles, trial: Trial, rescored: Rescored | None, labels: LabelledPairs
) -> list[str]:
    notes = [_CANDIDATES_NOTE, _CLUSTERS_NOTE]
    if trial.clusters.unknown:
        notes.append(
            f"{trial.clusters.unknown:,} images match a cluster without a recorded score with its head, and do not "
            "join it here."
        )
    if decisions.hours_missing:
        notes.append(f"{len(decisions.hours_missing)} hours are not in the log: materialise logs/decisions for them.")
    if len(recorded.classifiers) > 1:
        notes.append(f"The decisions are of {len(recorded.classifiers)} classifiers, each with its own scores.")
    if rescored and (rescored.left_out or rescored.gone):
        notes.append(
            f"{rescored.left_out:,} older images are beyond the limit of pairs and {rescored.gone:,} have no vectors "
            "any more: they stay where they are."
        )
    if not len(labels):
        notes.append("No override names two of these images, so precision and recall are not known.")
    return notes
