"""Claims about taking messages: validation, pairing, expiry."""

import numpy as np

from neardup_platform.clock import ManualClock
from neardup_platform.join.clock import JoinClocks
from neardup_platform.join.pairing import UnpairedEmbedding
from neardup_platform.records import Embedding, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.stream.expiry_report import expiry_report
from neardup_platform.stream.intake import Intake
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log, Message, encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS

NOW_MS = 1_700_000_000_000
PARTITIONS = [(topic, 0) for topic in EMBEDDINGS.values()]
MODELS = {Kind.LSH: ModelSpec("v", 3), Kind.PAIR: ModelSpec("v", 2)}


def message(image_id: str, kind: Kind, offset: int, time_ms: int = NOW_MS) -> Message:
    embedding = Embedding(image_id, kind, "v", np.ones(MODELS[kind].dim, np.float32), time_ms)
    return Message(EMBEDDINGS[kind], 0, offset, image_id.encode(), encode_embedding(embedding))


def intake(decided: set[str] = frozenset(), waiting: list[store_pb.UnpairedRecord] = [], **join: float) -> Intake:  # type: ignore[assignment] # noqa: B006
    settings = JoinSettings(**{"lateness_s": 10, **join})  # type: ignore[arg-type]
    return Intake(settings, MODELS, PARTITIONS, waiting, decided.__contains__)


def test_both_embeddings_in_one_read_complete_an_image_and_nothing_waits() -> None:
    step, joined = intake().take([message("a", Kind.LSH, 4), message("a", Kind.PAIR, 9)], {}, NOW_MS)
    assert [image.image_id for image in joined] == ["a"]
    assert step.positions == {(EMBEDDINGS[Kind.LSH], 0): 5, (EMBEDDINGS[Kind.PAIR], 0): 10}
    assert {h.key for h in step.entered} == {h.key for h in step.left}


def test_images_of_one_read_come_by_event_time() -> None:
    messages = [message(i, Kind.LSH, n, NOW_MS - t) for n, (i, t) in enumerate([("a", 1), ("b", 3), ("c", 2)])]
    messages += [message(i, Kind.PAIR, n, NOW_MS - 5) for n, i in enumerate("cab")]
    _, joined = intake().take(messages, {}, NOW_MS)
    assert [image.image_id for image in joined] == ["b", "c", "a"]


def test_repeats_are_counted_and_decided_once() -> None:
    twice = [message("a", kind, n) for n, kind in enumerate([*Kind, *Kind])]
    step, joined = intake().take([*twice, message("old", Kind.LSH, 5)], {}, NOW_MS)
    assert len(joined) == 1
    assert step.counts["repeated"] == 2
    step, joined = intake({"old"}).take([message("old", Kind.LSH, 5)], {}, NOW_MS)
    assert (joined, step.counts["repeated"]) == ([], 1)


def test_a_bad_message_is_dead_lettered_and_the_rest_is_taken() -> None:
    bad = Message(EMBEDDINGS[Kind.LSH], 0, 1, b"x", b"\xff\xff")
    step, joined = intake().take([bad, message("a", Kind.LSH, 2), message("a", Kind.PAIR, 0)], {}, NOW_MS)
    assert len(joined) == 1
    assert [(m.offset, e.reason) for m, e in step.dead] == [(1, "garbage")]
    assert step.counts == {"received": 3, "dead_lettered": 1}
    assert step.positions[EMBEDDINGS[Kind.LSH], 0] == 3


def test_an_unpaired_embedding_is_reported_once_its_lateness_has_passed() -> None:
    take = intake().take
    take([message("a", Kind.LSH, 0)], {}, NOW_MS)
    step, _ = take([], dict.fromkeys(PARTITIONS, NOW_MS + 15_001), NOW_MS + 15_001)
    assert [(m.offset, e.reason) for m, e in step.dead] == [(0, "expired")]
    assert step.counts == {"expired": 1}
    assert not step.empty


def test_a_producers_clock_that_is_ahead_makes_no_other_late() -> None:
    take = intake().take
    take([message("a", Kind.LSH, 0)], {}, NOW_MS)
    ahead = NOW_MS + 3_600_000
    step, _ = take([message("x", kind, 1, ahead) for kind in Kind], {}, NOW_MS)
    assert step.dead == []


def test_a_full_waiting_room_evicts_the_oldest_and_reports_it() -> None:
    messages = [message(i, Kind.LSH, n, NOW_MS + n) for n, i in enumerate("abc")]
    step, _ = intake(max_waiting=2).take(messages, {}, NOW_MS)
    assert [(m.offset, e.reason) for m, e in step.dead] == [(0, "evicted")]


def test_a_restored_embedding_is_paired_with_its_partner() -> None:
    first = message("a", Kind.LSH, 0)
    restored = store_pb.UnpairedRecord(
        value=first.value, topic=first.topic, partition=0, offset=0, waits_from_ms=NOW_MS
    )
    _, joined = intake(waiting=[restored]).take([message("a", Kind.PAIR, 0)], {}, NOW_MS)
    assert [image.image_id for image in joined] == ["a"]


def test_report_counts_what_was_given_up_and_names_it() -> None:
    taking = intake(lateness_s=10, max_waiting=3)
    taking.take([message("a", Kind.LSH, 7, NOW_MS - 5), message("b", Kind.PAIR, 8)], {}, NOW_MS)
    later = NOW_MS + 15_001
    step, _ = taking.take([], dict.fromkeys(PARTITIONS, later), later)
    report = step.report
    assert report is not None
    assert {(c.kind, c.reason, c.halves) for c in report.counts} == {
        (pb.KIND_LSH, "expired", 1),
        (pb.KIND_PAIR, "expired", 1),
    }
    assert [(h.image_id, h.topic, h.offset) for h in report.halves] == [
        ("a", EMBEDDINGS[Kind.LSH], 7),
        ("b", EMBEDDINGS[Kind.PAIR], 8),
    ]
    assert (report.oldest_event_ms, report.newest_event_ms) == (NOW_MS - 5, NOW_MS)
    assert (report.watermark_ms, report.lateness_ms) == (later - 5_000, 10_000)
    evicted, _ = taking.take([message(i, Kind.LSH, n) for n, i in enumerate("cdefg")], {}, later)
    assert evicted.report is not None
    assert [(c.reason, c.halves) for c in evicted.report.counts] == [("evicted", 2)]
    assert evicted.report.event_id != report.event_id


def test_report_names_a_thousand_and_counts_all() -> None:
    entered, _ = intake().take([message(f"i{n}", Kind.LSH, n, NOW_MS - n) for n in range(1_200)], {}, NOW_MS)
    report = expiry_report([(half, "expired") for half in entered.entered], NOW_MS, 10_000, NOW_MS)
    assert report.counts[0].halves == 1_200
    assert (len(report.halves), report.halves_left_out) == (1_000, 200)
    assert report.halves[0].image_id == "i1199"


def test_step_takes_the_clocks_that_restore_the_watermark() -> None:
    taking = intake()
    step, _ = taking.take([message("a", Kind.LSH, 0, NOW_MS - 50)], {PARTITIONS[1]: NOW_MS}, NOW_MS)
    assert step.clocks == {PARTITIONS[0]: NOW_MS - 50, PARTITIONS[1]: NOW_MS - 5_000}
    restored = Intake(JoinSettings(), MODELS, PARTITIONS, [], lambda _: False, step.clocks)
    assert restored.metrics(NOW_MS)["watermark_ms"] == taking.metrics(NOW_MS)["watermark_ms"] == NOW_MS - 5_000


def test_quiet_stream_writes_its_clocks_only_now_and_then() -> None:
    """A restart may cost an embedding ten per cent of its lateness; a write every second would be too many."""
    taking = intake(lateness_s=100)
    taking.take([message("a", Kind.LSH, 0), message("a", Kind.PAIR, 0)], {}, NOW_MS)
    steps = [taking.take([], dict.fromkeys(PARTITIONS, at), at)[0] for at in range(NOW_MS, NOW_MS + 60_000, 1_000)]
    written = [step for step in steps if not step.empty]
    assert 3 <= len(written) <= 6
    assert all(step.clocks and not step.positions for step in written)


def test_unreadable_message_is_reported_by_its_place() -> None:
    damaged = Message(EMBEDDINGS[Kind.LSH], 0, 4, b"", b"", damage="failed crc check")
    step, _ = intake().take([damaged], {}, NOW_MS)
    assert [(m.offset, e.reason, e.detail) for m, e in step.dead] == [(4, "unreadable", "failed crc check")]
    assert step.positions[EMBEDDINGS[Kind.LSH], 0] == 5


def test_the_join_clock_bounds_event_times_and_the_wall_clock_bounds_how_far_ahead_they_are() -> None:
    """After a long sleep the join's clock is behind; messages of now are good, and move no clock beyond it."""
    taking, hours = intake(), 30 * 3_600_000
    step, joined = taking.take([message("a", kind, 0, NOW_MS + hours) for kind in Kind], {}, NOW_MS, NOW_MS + hours)
    assert ([image.image_id for image in joined], step.dead) == (["a"], [])
    assert step.clocks == dict.fromkeys(PARTITIONS, NOW_MS)
    step, _ = intake().take([message("a", Kind.LSH, 0, NOW_MS + hours)], {}, NOW_MS, NOW_MS)
    assert [error.reason for _, error in step.dead] == ["bad-time"]
    # A wall clock set back by days makes nothing bad that was good.
    step, _ = intake().take([message("a", Kind.LSH, 0, NOW_MS)], {}, NOW_MS, NOW_MS - hours)
    assert step.dead == []


def test_a_removed_partition_leaves_the_watermark_and_the_store() -> None:
    taking = intake()
    there = [*PARTITIONS, (EMBEDDINGS[Kind.LSH], 1)]
    taking.update_log(frozenset(there), {})
    taking.take([], {PARTITIONS[0]: NOW_MS, PARTITIONS[1]: NOW_MS}, NOW_MS)
    assert "watermark_ms" not in taking.metrics(NOW_MS)
    step, _ = taking.take([message("a", Kind.LSH, 0)], dict.fromkeys(there, NOW_MS - 60_000), NOW_MS)
    assert taking.metrics(NOW_MS)["watermark_ms"] == NOW_MS - 65_000
    taking.update_log(frozenset(PARTITIONS), {})
    step, _ = taking.take([], dict.fromkeys(PARTITIONS, NOW_MS), NOW_MS)
    assert step.gone == {there[2]}
    assert not step.empty
    assert taking.metrics(NOW_MS)["watermark_ms"] == NOW_MS - 5_000
    late = Message(there[2][0], 1, 9, b"late", message("late", Kind.LSH, 9).value)
    step, _ = taking.take([late], {}, NOW_MS)
    assert step.gone == {there[2]}
    assert there[2] not in step.clocks
    assert taking.metrics(NOW_MS)["watermark_ms"] == NOW_MS - 5_000


def test_restart_of_a_log_is_written_with_its_identity() -> None:
    taking, log = intake(), Log("new", 0)
    taking.update_log(frozenset(PARTITIONS), {PARTITIONS[0]: log})
    step, _ = taking.take([], {}, NOW_MS)
    assert (step.positions, step.logs) == ({PARTITIONS[0]: 0}, {PARTITIONS[0]: log})
    assert step.counts == {"partitions_restarted": 1}
    step, _ = taking.take([], {}, NOW_MS)
    assert step.empty


def stored_half(half: UnpairedEmbedding[Message]) -> store_pb.UnpairedRecord:
    origin = half.origin
    return store_pb.UnpairedRecord(
        value=origin.value, topic=origin.topic, offset=origin.offset, waits_from_ms=half.waits_from_ms
    )


def expired_in_steps(take: Intake, messages: list[Message], now_ms: int) -> list[list[int]]:
    """Offsets given up by each step until no more are due; `messages` come with the second step."""
    steps = []
    while take.gives_up or not steps:
        step, joined = take.take(messages if len(steps) == 1 else [], dict.fromkeys(PARTITIONS, now_ms), now_ms)
        assert joined == []
        assert step.report is None or len(step.report.halves) == len(step.dead)
        steps.append([message.offset for message, error in step.dead if error.reason == "expired"])
    return steps


def test_a_step_gives_up_a_bounded_number_and_the_rest_follows_before_more_is_read() -> None:
    late_ms = NOW_MS + 15_001
    halves = [message(f"{n:05d}", Kind.LSH, n, NOW_MS - 3_000 + n) for n in range(2_500)]
    whole = intake()
    whole.take(halves, {}, NOW_MS)
    partner = message("02400", Kind.PAIR, 0, late_ms)
    steps = expired_in_steps(whole, [partner], late_ms)
    assert [len(step) for step in steps] == [1_000, 1_000, 500]
    assert [offset for step in steps for offset in step] == [*range(2_500)]
    step, joined = whole.take([], {}, late_ms)
    assert (joined, [half.key[1] for half in step.entered]) == ([], ["02400"])


def test_a_restart_gives_up_the_same_embeddings() -> None:
    late_ms = NOW_MS + 15_001
    halves = [message(f"{n:05d}", Kind.LSH, n, NOW_MS - 3_000 + n) for n in range(1_500)]
    first = intake()
    entered, _ = first.take(halves, {}, NOW_MS)
    step, _ = first.take([], dict.fromkeys(PARTITIONS, late_ms), late_ms)
    gone = {half.key for half in step.left}
    stored = [
        store_pb.UnpairedRecord(
            value=half.origin.value,
            topic=half.origin.topic,
            offset=half.origin.offset,
            waits_from_ms=half.waits_from_ms,
        )
        for half in entered.entered
        if half.key not in gone
    ]
    settings = JoinSettings(lateness_s=10)
    restarted = Intake(settings, MODELS, PARTITIONS, stored, frozenset().__contains__, step.clocks)
    assert restarted.gives_up
    assert expired_in_steps(restarted, [], NOW_MS) == expired_in_steps(first, [], NOW_MS) == [[*range(1_000, 1_500)]]


def test_a_smaller_waiting_room_is_emptied_in_steps() -> None:
    whole = intake()
    entered, _ = whole.take([message(f"{n:05d}", Kind.LSH, n, NOW_MS + n) for n in range(1_500)], {}, NOW_MS)
    stored = [
        store_pb.UnpairedRecord(
            value=half.origin.value,
            topic=half.origin.topic,
            offset=half.origin.offset,
            waits_from_ms=half.waits_from_ms,
        )
        for half in entered.entered
    ]
    smaller = intake(waiting=stored, max_waiting=100)
    steps = [smaller.take([], {}, NOW_MS)[0].counts for _ in range(2)]
    assert steps == [{"evicted": 1_000}, {"evicted": 400}]
    assert not smaller.gives_up


def test_a_backlog_of_hours_read_one_topic_after_the_other_makes_no_embedding_late() -> None:
    """After hours without a worker, with minutes between an embedding and its partner."""
    clock, hours = ManualClock(NOW_MS), 10
    clocks = JoinClocks.start(clock, NOW_MS - hours * 3_600_000)
    stored = dict.fromkeys(PARTITIONS, NOW_MS - hours * 3_600_000)
    taking = Intake(JoinSettings(lateness_s=600), MODELS, PARTITIONS, [], lambda _: False, stored)
    expired, joined = 0, 0
    for kind in Kind:
        for minute in range(60 * hours):
            clock.advance(5_000)
            sent_ms = NOW_MS - hours * 3_600_000 + minute * 60_000
            step, images = taking.take([message(f"i{minute}", kind, minute, sent_ms)], {}, clocks.now.now_ms())
            expired, joined = expired + step.counts.get("expired", 0), joined + len(images)
    assert (expired, joined) == (0, 60 * hours)
