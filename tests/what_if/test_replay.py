"""Claims about deciding recorded images again."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.client.answers import Override
from neardup_platform.clusters.decision import UNGUARDED, Guard, Objection, choose_cluster
from neardup_platform.decide import Evidence as Compared
from neardup_platform.matching import Matching, Thresholds
from neardup_platform.records import CHAIN_SUSPECTED, QUARANTINED
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.what_if.recorded import Recorded
from neardup_platform.what_if.replay import (
    NOTHING_STANDS,
    Clusters,
    Standing,
    constant_rule,
    recorded_evidence,
    recorded_rule,
    replay,
    rule_of,
    standing_of,
)
from neardup_platform.wire import neardup_pb2 as pb
from tests.what_if.records import TABLES, clusters, decision, recorded

SCORES = (0.05, 0.3, 0.5, 0.6, 0.7, 0.9)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[pb.Decision], float, float, Guard, Standing]:
    """Random decisions, each comparing with some earlier ones; what they decided is of no matter."""
    count = draw(st.integers(1, 14))
    decisions = []
    for number in range(count):
        others = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=6)) if number else []
        scores = sorted((draw(st.sampled_from(SCORES)) for _ in others), reverse=True)
        pairs = sorted(zip(scores, others, strict=True), key=lambda pair: (-pair[0], pair[1]))
        found = decision(number + 1, f"i{number:02}", candidates=[(f"i{n:02}", s, f"i{n:02}") for s, n in pairs])
        for candidate in found.candidates:
            candidate.overlap = draw(st.sampled_from([3, 3, TABLES]))
        decisions.append(found)
    guard = Guard(draw(st.integers(0, 3)), draw(st.sampled_from([0.5, 0.9])))
    numbers = st.integers(0, count - 1)
    standing = Standing(draw(st.lists(numbers, max_size=3)), draw(st.dictionaries(numbers, st.integers(1, count))))
    return decisions, draw(st.sampled_from([0.5, 0.6, 0.8])), draw(st.sampled_from([0.2, 0.5])), guard, standing


def by_the_rule(
    decisions: list[pb.Decision], match: float, least: float, guard: Guard, standing: Standing
) -> dict[str, str]:
    """The clusters by the rule of the stream itself; a pair that was not compared scores nothing."""
    ordinal = {each.image_id: number for number, each in enumerate(decisions)}
    heads: list[int] = []
    for number, each in enumerate(decisions):
        own = each.candidates
        others = np.array([ordinal[c.image_id] for c in own], np.int64)
        evidence = Compared(
            others,
            np.array([c.overlap for c in own], np.uint8),
            np.array([c.score for c in own], np.float32),
            np.array([heads[n] for n in others], np.int64),
            np.array([c.overlap == TABLES for c in own], np.bool_),
            np.zeros(len(own), np.uint8),
        )
        thresholds = Thresholds(match, least, guard, 0.3)
        scores = {ordinal[c.image_id]: c.score for c in own}

        closed = {heads[n] for n, at in standing.quarantines.items() if n < number and each.sequence > at}

        def objection(
            head: int, evidence: Compared = evidence, thresholds: Thresholds = thresholds, closed: set[int] = closed
        ) -> Objection | None:
            size = heads.count(head)
            if head in closed:
                return Objection(QUARANTINED, evidence.agreement(head, thresholds, size), "q")
            if not guard.watches(size) or evidence.has_copy(head, np.float32(match)):
                return None
            agreement = evidence.agreement(head, thresholds, size)
            return None if guard.admits(agreement) else Objection(CHAIN_SUSPECTED, agreement)

        matches = evidence.matches(np.float32(match))

        def head_score(head: int, scores: dict[int, float] = scores) -> float:
            merged = [n for n in standing.heads_too if n < len(heads) and heads[n] == head]
            return max(scores.get(n, -1.0) for n in [head, *merged])

        verdict = choose_cluster(matches, head_score, least, objection=objection)
        heads.append(number if verdict.head is None else verdict.head)
    return {each.image_id: decisions[head].image_id for each, head in zip(decisions, heads, strict=True)}


def tried(
    found: Recorded, match: float, head: float, guard: Guard = UNGUARDED, standing: Standing = NOTHING_STANDS
) -> Clusters:
    return replay(found, recorded_evidence(found, standing), constant_rule(found, match, head, guard, 0.3))


@settings(deadline=None, max_examples=60)
@given(streams())
def test_a_replay_decides_as_the_stream_does(
    stream: tuple[list[pb.Decision], float, float, Guard, Standing],
) -> None:
    decisions, match, least, guard, standing = stream
    with TemporaryDirectory() as folder:
        found = recorded(Path(folder), decisions)
    again = clusters(found, tried(found, match, least, guard, standing).head)
    assert again == by_the_rule(decisions, match, least, guard, standing)


CHAIN = [
    decision(1, "a"),
    decision(2, "b", "a", [("a", 0.9, "a")], head_score=0.9),
    decision(3, "c", "a", [("b", 0.95, "a"), ("a", 0.5, "a")], head_score=0.5),
    decision(4, "d", "", [("c", 0.7, "a"), ("a", 0.6, "a")]),
]


def test_recorded_thresholds_bring_back_what_was_decided(tmp_path: Path) -> None:
    found = recorded(tmp_path, CHAIN)
    again = replay(found, recorded_evidence(found), recorded_rule(found, UNGUARDED, None))
    assert np.array_equal(again.head, found.homes)


def test_an_image_meets_the_clusters_of_the_replay(tmp_path: Path) -> None:
    """At 0.92 b founds its own cluster, so c, whose best match is b, joins b and not a."""
    found = recorded(tmp_path, CHAIN)
    assert clusters(found, tried(found, 0.92, 0.4).head) == {"a": "a", "b": "b", "c": "b", "d": "d"}
    assert clusters(found, tried(found, 0.65, 0.4).head) == {"a": "a", "b": "a", "c": "a", "d": "a"}


def test_an_override_holds_whatever_the_threshold(tmp_path: Path) -> None:
    moved = decision(5, "b", "d", [("a", 0.9, "a")], cause="override", override_id="o")
    found = recorded(tmp_path, [*CHAIN, moved])
    assert clusters(found, tried(found, 0.99, 0.9).head)["b"] == "d"


def test_a_quarantine_keeps_out_what_came_after_it_and_a_merge_has_two_heads(tmp_path: Path) -> None:
    def named(action: str, image_id: str, other_id: str = "", sequence: int = 0) -> Override:
        return Override("o", action, image_id, other_id, "", "me", 0, sequence)  # type: ignore[arg-type]

    found = recorded(tmp_path, CHAIN)
    closed = standing_of(found, [named("quarantine", "b", sequence=3), named("quarantine", "nobody")])
    assert clusters(found, tried(found, 0.65, 0.4, standing=closed).head) == {"a": "a", "b": "a", "c": "a", "d": "d"}
    merged = standing_of(found, [named("merge", "b", "a")])
    assert clusters(found, tried(found, 0.65, 0.55).head)["c"] == "c"
    assert clusters(found, tried(found, 0.65, 0.55, standing=merged).head)["c"] == "a"


def test_a_match_without_a_score_with_the_head_is_counted_and_not_joined(tmp_path: Path) -> None:
    found = recorded(tmp_path, [CHAIN[0], decision(2, "z", "", [("y", 0.7, "far")])])
    looser = tried(found, 0.6, 0.4)
    assert (clusters(found, looser.head)["z"], looser.unknown) == ("z", 1)


def test_thresholds_of_a_table_follow_corpus_size_and_distinctiveness() -> None:
    card = read_card(SHIPPED_FOLDER)
    matching = Matching.of(Settings(), card)
    sizes, plain = np.array([0, 999, 1_000, 12_000_000]), np.array([False, True, True, False])
    rule = rule_of(matching, sizes, plain)
    expected = [
        matching.thresholds(int(size), undistinctive=bool(each)) for size, each in zip(sizes, plain, strict=True)
    ]
    assert rule.match.tolist() == pytest.approx([each.match for each in expected])
    assert rule.least_head.tolist() == pytest.approx([each.head for each in expected])
