"""Claims about messages that are too large for a topic: what is published fits and says what it leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_bounds import MAX_ARGUMENT_BYTES, MAX_ISSUED_BY_BYTES, oversized
from neardup_platform.wire.fitting import fitting
from neardup_platform.wire.topics import CONTROL_RESULTS, DEBUG, DECISIONS, JOIN_REPORT

MOST = 64_000
LONG = "i" * 500


def decision(candidates: int, bridges: int) -> pb.Decision:
    return pb.Decision(
        event_id="e",
        image_id=LONG,
        head=LONG,
        candidates=[pb.Candidate(image_id=LONG, head=LONG, score=n / 10_000) for n in range(candidates)],
        bridges=[f"{n:05d}{LONG}" for n in range(bridges)],
        guard=pb.HeldApart(reason="chain-suspected", head=LONG, agreed=2, compared=9, size=9),
    )


@given(st.integers(0, 400), st.integers(0, 400), st.integers(2_000, MOST))
def test_a_decision_fits_and_counts_what_it_leaves_out(candidates: int, bridges: int, most: int) -> None:
    whole = decision(candidates, bridges)
    sent = pb.Decision.FromString(fitting(DECISIONS, whole.SerializeToString(), most))
    assert sent.ByteSize() <= most
    assert len(sent.candidates) + sent.candidates_left_out == candidates
    assert len(sent.bridges) + sent.bridges_left_out == bridges
    if sent.candidates_left_out:
        assert [c.score for c in sent.candidates] == [
            c.score for c in reversed(whole.candidates[sent.candidates_left_out :])
        ]
    assert (sent.event_id, sent.head, sent.guard) == (whole.event_id, whole.head, whole.guard)


def test_a_report_with_a_thousand_long_ids_fits_and_counts_all_of_them() -> None:
    halves = [pb.ExpiredHalf(image_id=f"{n:04d}{LONG}", event_time_ms=n) for n in range(1_000)]
    report = pb.ExpiryReport(counts=[pb.ExpiryCount(halves=1_200)], halves=halves, halves_left_out=200)
    sent = pb.ExpiryReport.FromString(fitting(JOIN_REPORT, report.SerializeToString(), MOST))
    assert sent.ByteSize() <= MOST
    assert len(sent.halves) + sent.halves_left_out == sent.counts[0].halves == 1_200
    assert list(sent.halves) == halves[: len(sent.halves)]


def test_a_result_loses_its_largest_values_and_names_them() -> None:
    result = pb.CommandResult(command_id="c", values={"large": "x" * 70_000, "small": "y"}, reason="z" * 5_000)
    sent = pb.CommandResult.FromString(fitting(CONTROL_RESULTS, result.SerializeToString(), MOST))
    assert (dict(sent.values), dict(sent.values_left_out)) == ({"small": "y"}, {"large": 70_000})


@pytest.mark.parametrize("topic", [DECISIONS, JOIN_REPORT, CONTROL_RESULTS, DEBUG])
def test_a_message_that_fits_is_unchanged(topic: str) -> None:
    assert fitting(topic, b"\x00garbage", MOST) == b"\x00garbage"


def test_the_error_about_a_large_field_has_its_name_size_and_limit_but_not_its_value() -> None:
    fields = {
        "issued_by": pb.Command(command_id="c", issued_by="é" * MAX_ISSUED_BY_BYTES),
        "name": pb.Command(command_id="c", name="é" * MAX_ISSUED_BY_BYTES),
        "the argument 'reason'": pb.Command(command_id="c", arguments={"reason": "é" * MAX_ARGUMENT_BYTES}),
        "the name of an argument": pb.Command(command_id="c", arguments={"é" * MAX_ARGUMENT_BYTES: ""}),
    }
    for field, command in fields.items():
        problem = oversized(command)
        assert problem.startswith(f"{field} has "), problem
        assert "bytes, at most" in problem
        assert "é" not in problem
    assert oversized(pb.Command(command_id="c", name="pause", issued_by="é" * (MAX_ISSUED_BY_BYTES // 2))) == ""
