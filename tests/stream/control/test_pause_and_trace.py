"""Claims about pause, resume and trace, without Kafka and TensorFlow."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from neardup_platform.kafka.read_ahead import ReadAhead
from neardup_platform.operations.trace_in_words import trace_in_words
from neardup_platform.records import Kind
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.control.pause import Pause, Resume
from neardup_platform.stream.trace.trace import Trace
from neardup_platform.testing import families
from neardup_platform.wire.codec import Message
from neardup_platform.wire.command_arguments import PauseArguments, ResumeArguments, TraceArguments
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS
from tests.growing_chain import FIRST_HELD_APART, growing_chain
from tests.stream.control_machine import ControlMachine, command

LSH = EMBEDDINGS[Kind.LSH]


def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
    store = machine.store
    return [
        register(PauseArguments, Pause(store, machine.clock), prompt=True),
        register(ResumeArguments, Resume(store), prompt=True),
        register(TraceArguments, Trace(machine.worker.redeciding), prompt=True),
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[ControlMachine]:
    with closing(ControlMachine(tmp_path, [], commands)) as made:
        yield made


def test_a_pause_is_remembered_with_who_and_when_until_it_is_taken_back(tmp_path: Path) -> None:
    with closing(ControlMachine(tmp_path, [command("pause"), command("pause", "c2")], commands)) as first:
        paused, again = first.run()
        assert (paused.values["paused"], again.values["paused"]) == ("now", "before")
        assert paused.values["at_ms"] == again.values["at_ms"]
    with closing(ControlMachine(tmp_path, first.log, commands)) as second:
        state = second.store.state()
        assert (state.paused.by, state.paused.command_id) == ("a test", "c1")
        second.log += [command("resume", "c3"), command("resume", "c4"), command("pause", "c5", why="x")]
        resumed, nothing, refused = second.run()
        assert (resumed.values["was_paused"], resumed.values["by"]) == ("true", "a test")
        assert nothing.values["was_paused"] == "false"
        assert not second.store.state().HasField("paused")
        assert "takes the arguments []" in refused.reason


def test_held_embeddings_wait_and_commands_are_handed_out() -> None:
    ahead = ReadAhead({}, 10, 1_000)
    messages = [Message(LSH, 0, 0, b"k", b"v"), Message(CONTROL, 0, 0, b"k", b"v")]
    ahead.hold_embeddings = True
    ahead.put(messages)
    assert ahead.take(10, 1_000, 0) == messages[1:]
    assert ahead.take(10, 1_000, 0.01) == []
    assert ahead.full
    assert ahead.next_to_hand_out((LSH, 0)) is None
    ahead.hold_embeddings = False
    assert ahead.take(10, 1_000, 0) == messages[:1]
    assert not ahead.full


def test_a_trace_finds_what_deciding_found_and_changes_nothing(machine: ControlMachine) -> None:
    machine.decide(families(8, 4))
    last = machine.worker.decisions()[-1]
    before = machine.store.state()
    machine.log.append(command("trace", image_id=last.image_id))
    (result,) = machine.run()
    told = json.loads(result.values["trace"])
    assert told["in_force"]["head"] == told["verdict"]["head"] == last.head
    assert told["verdict"]["as_in_force"]
    recorded = {c.image_id: (c.overlap, c.score) for c in last.candidates}
    found = {c["image_id"]: (c["overlap"], c["score"]) for c in told["candidates"]}
    assert last.image_id not in found
    for image_id, (overlap, score) in recorded.items():
        assert found[image_id] == (overlap, pytest.approx(score, abs=1e-5))
    assert told["candidates_found"] == last.candidates_found
    assert set(told["stage_ms"]) == {"terms", "search", "score", "decide"}
    after = machine.store.state()
    assert (after.images, after.digest, after.sequence) == (40, before.digest, before.sequence)
    assert len(machine.pipeline.corpus) == len(machine.pipeline.corpus.vectors) == 40
    assert f"cluster {last.head}" in trace_in_words({**told, "sequence": result.sequence})


def test_a_trace_says_from_which_cluster_an_image_is_held_apart(machine: ControlMachine) -> None:
    machine.decide(growing_chain(7))
    machine.log.append(command("trace", image_id=FIRST_HELD_APART))
    (result,) = machine.run()
    told = json.loads(result.values["trace"])
    assert told["verdict"]["founds"]
    assert told["verdict"]["as_in_force"]
    decision = next(d for d in machine.worker.decisions() if d.image_id == FIRST_HELD_APART)
    assert decision.guard is not None
    assert told["verdict"]["guard"] == asdict(decision.guard)
    assert "held apart from head (chain-suspected)" in trace_in_words({**told, "sequence": result.sequence})


def test_a_trace_follows_overrides_and_shows_labels(machine: ControlMachine) -> None:
    def traced(image_id: str) -> dict:
        machine.log.append(command("trace", f"t{len(machine.log)}", image_id=image_id))
        (result,) = machine.run()
        told = json.loads(result.values["trace"])
        assert told["verdict"]["as_in_force"]
        return told["verdict"] | {"text": trace_in_words({**told, "sequence": result.sequence})}

    images = families(3, 4)
    machine.decide(images[:-1])
    decided, newest = machine.worker.decisions(), images[-1].image_id
    member = next(d for d in decided if not d.founded)
    label = {"bank": "hate", "policy": "p", "action": "block"}
    machine.worker.run_command("label", command_id="l1", image_id=member.head, **label)
    verdict = traced(member.image_id)
    assert [(each["bank"], each["action"]) for each in verdict["labels"]] == [("hate", "block")]
    assert "bank hate: policy p, action block" in verdict["text"]
    machine.worker.override("alone", member.image_id)
    verdict = traced(member.image_id)
    assert (verdict["founds"], verdict["labels"], bool(verdict["override_id"])) == (True, [], True)
    assert f", by override {verdict['override_id']}" in verdict["text"]
    for head in {d.head for d in machine.worker.decisions()}:
        machine.worker.run_command("override", command_id=f"q-{head}", action="quarantine", image_id=head)
    machine.decide(images[-1:])
    kept = machine.worker.decisions()[-1]
    assert (kept.image_id, kept.founded) == (newest, True)
    assert traced(newest)["guard"] == (None if kept.guard is None else asdict(kept.guard))
    assert kept.guard is not None
    assert traced(kept.guard.head)["guard"] is None


def test_a_head_is_traced_into_its_own_cluster(machine: ControlMachine) -> None:
    machine.decide(families(8, 4))
    head = next(d.head for d in machine.worker.decisions() if not d.founded)
    machine.log.append(command("trace", image_id=head))
    told = json.loads(machine.run()[0].values["trace"])
    assert told["verdict"]["head"] == head
    assert told["verdict"]["head_score"] == 1.0


def test_a_trace_is_bounded_and_reports_what_it_omits(tmp_path: Path) -> None:
    def three_candidates(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        return [register(TraceArguments, Trace(machine.worker.redeciding, most=3), prompt=True)]

    with closing(ControlMachine(tmp_path, [], three_candidates)) as machine:
        machine.decide(families(8, 4))
        machine.log.append(command("trace", image_id="0/0"))
        (result,) = machine.run()
    told = json.loads(result.values["trace"])
    assert len(told["candidates"]) == 3
    assert told["candidates"] == sorted(told["candidates"], key=lambda c: -c["score"])
    assert f"and {told['candidates_found'] - 3} more" in trace_in_words({**told, "sequence": result.sequence})


def test_an_unknown_image_is_refused(machine: ControlMachine) -> None:
    machine.log.append(command("trace", image_id="nobody"))
    (result,) = machine.run()
    assert "'nobody' has not been decided" in result.reason
