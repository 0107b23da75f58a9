"""Decides recorded images again under other thresholds or scores: columns → **clusters**. Pure.

The replay follows the order of the decisions, so that an image meets the clusters that the replay has formed, not those
of the records. What it cannot see: candidates below the recorded floor or beyond the cap, the score with a head that
was no candidate, and members of clusters that the records do not mention, which the guard would count. A cluster that a
quarantine or a merge names follows it, as far as its images are among the records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neardup_platform.client.answers import Override
from neardup_platform.clusters.decision import Guard
from neardup_platform.matching import Matching
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.what_if.kernels import NEVER, Demands, Known, Limits, Table, replay_records
from neardup_platform.what_if.recorded import Edges, Flags, Nodes, Recorded, Scores

# No score equals it, so no candidate counts as passed over.
_NONE_PASSED_OVER = -1.0


@dataclass(frozen=True, slots=True)
class Rule:
    """What every image must reach.

    Attributes:
        match, least_head: float32 [N], thresholds.
        guard: which clusters are guarded.
        passed_over: score of candidates that were not looked at again; None if all were.
    """

    match: Scores
    least_head: Scores
    guard: Guard
    passed_over: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The merges and quarantines that apply, whatever the rule.

    Attributes:
        heads_too: nodes that a merge names, each of which counts as a head of its cluster.
        quarantines: node → sequence of the last decision before the quarantine that names it, the earliest one.
    """

    heads_too: Sequence[int] = ()
    quarantines: Mapping[int, int] = field(default_factory=dict)


NOTHING_STANDS = Standing()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a replay knows of every image.

    Attributes:
        edges: candidates with their scores.
        head_score: float32 [N], the score with the recorded head.
        pinned: bool [N], images that stay where they were put.
        standing: merges and quarantines of clusters.
    """

    edges: Edges
    head_score: Scores
    pinned: Flags
    standing: Standing = NOTHING_STANDS


@dataclass(frozen=True, slots=True)
class Clusters:
    """Where a replay put the images.

    Attributes:
        head: int32 [M], of every node; those that were not decided again keep theirs.
        unknown: images that matched a cluster with whose head no score was recorded.
    """

    head: Nodes
    unknown: int


def standing_of(recorded: Recorded, overrides: Iterable[Override]) -> Standing:
    """Returns what overrides of whole clusters demand of the images of the records."""
    merges, quarantines = list[str](), dict[str, int]()
    for each in overrides:
        if each.action == "merge":
            merges += [each.image_id, each.other_id]
        if each.action == "quarantine":
            quarantines[each.image_id] = min(each.sequence, quarantines.get(each.image_id, each.sequence))
    since = {node: quarantines[image_id] for image_id, node in recorded.nodes(quarantines).items()}
    return Standing(list(recorded.nodes(merges).values()), since)


def recorded_evidence(recorded: Recorded, standing: Standing = NOTHING_STANDS) -> Evidence:
    """Returns what was recorded; images that an override placed stay."""
    return Evidence(recorded.edges, recorded.head_score, recorded.pinned, standing)


def recorded_rule(recorded: Recorded, guard: Guard, passed_over: float | None) -> Rule:
    """Returns the thresholds that applied."""
    return Rule(recorded.match, recorded.least_head, guard, passed_over)


def constant_rule(recorded: Recorded, match: float, head: float, guard: Guard, passed_over: float | None) -> Rule:
    """Returns the same thresholds for every image, as `scoring.threshold` and `scoring.head_threshold` set them."""
    return Rule(*_constant(len(recorded), match, head), guard, passed_over)


def rule_of(matching: Matching, corpus_images: NDArray[np.int64], undistinctive: Flags) -> Rule:
    """Returns the thresholds of a classifier: by corpus size and distinctiveness if it has a table."""
    if matching.table is None:
        match, head = _constant(len(undistinctive), matching.threshold, matching.head_threshold)
    else:
        match, head = _from_table(matching.table, corpus_images, undistinctive)
    return Rule(match, head, matching.guard, matching.passed_over)


def replay(recorded: Recorded, evidence: Evidence, rule: Rule) -> Clusters:
    """Decides every image again, in the recorded order; nothing is scored."""
    home, count = recorded.homes, len(recorded)
    sizes = np.bincount(recorded.outside_head, minlength=len(home)).astype(np.int64)
    unknown = np.zeros(count, np.bool_)
    edges = evidence.edges
    passed_over = _NONE_PASSED_OVER if rule.passed_over is None else rule.passed_over
    replay_records(
        Table(edges.starts, edges.candidate, edges.score, edges.copy),
        Limits(rule.match, rule.least_head, rule.guard.size, rule.guard.share, passed_over),
        Known(recorded.head, evidence.head_score, evidence.pinned),
        _demands(recorded, evidence.standing),
        home,
        sizes,
        unknown,
    )
    return Clusters(settled(home), int(unknown.sum()))


def _demands(recorded: Recorded, standing: Standing) -> Demands:
    count, heads = len(recorded.ids), settled(recorded.homes)
    heads_too = np.zeros(count, np.bool_)
    heads_too[list(standing.heads_too)] = True
    quarantined_at, closed_at = np.full(count, NEVER), np.full(count, NEVER)
    for node, sequence in standing.quarantines.items():
        quarantined_at[node] = sequence
        closed_at[heads[node]] = min(closed_at[heads[node]], sequence)
    return Demands(heads_too, quarantined_at, closed_at, recorded.sequence.astype(np.int64))


def settled(home: Nodes) -> Nodes:
    """Returns the head of each node's cluster, where a head may itself have joined another; int32 [M].

    A ring of heads, which overrides can leave in the records, keeps the heads that it had.
    """
    for _ in range(32):
        above = home[home]
        if np.array_equal(above, home):
            break
        home = above
    return home


def _from_table(table: ThresholdTable, corpus_images: NDArray[np.int64], undistinctive: Flags) -> tuple[Scores, Scores]:
    step = np.searchsorted([each.images for each in table.steps], corpus_images, side="right") - 1
    by_stratum = [
        [(stratum.match, stratum.head) for stratum in (each.distinctive, each.undistinctive)] for each in table.steps
    ]
    found = np.array(by_stratum, np.float32)[step, undistinctive.astype(int)]
    return found[:, 0].copy(), found[:, 1].copy()


def _constant(count: int, match: float, head: float) -> tuple[Scores, Scores]:
    return np.full(count, match, np.float32), np.full(count, head, np.float32)
