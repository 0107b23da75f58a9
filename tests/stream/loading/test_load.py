"""Claims about `load`: all or nothing of the bulk, the rest by its given heads, the same state whatever is killed."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.bootstrap.data_set import DataFile, DataSet
from neardup_platform.bootstrap.elsewhere import MOST_LISTED
from neardup_platform.clock import SystemClock
from neardup_platform.records import Cause, JoinedImage, Kind, PdqHash
from neardup_platform.scoring import mmap_vectors
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.survey import Survey
from neardup_platform.store.swap import copy_store, decide_swap, next_path
from neardup_platform.store.writer import Batch, IngestBatch, Store
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.corrections.carry_over import carry_over, name_restored
from neardup_platform.stream.corrections.forget_again import forget_again, forgotten_since
from neardup_platform.stream.loading import take_in
from neardup_platform.stream.loading.given_heads import GivenImage
from neardup_platform.stream.loading.load import Load
from neardup_platform.stream.redecide.redecide import Redecide
from neardup_platform.stream.reprocess.replay import replay
from neardup_platform.testing import MODELS, InMemoryWorker, families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.command_arguments import LoadArguments, RedecideArguments
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import NOW_MS, ControlMachine, Killed, Machines, command
from tests.stream.loading.hand_made import HandMade
from tests.stream.redecide.conftest import Selections, other_classifier

IMAGES = families(30, 5)
DATA_SET = DataSet("corpus", (DataFile("bootstrap/corpus/0.parquet", 1, "e"),))
Make = Callable[..., ControlMachine]


def given(images: Sequence[JoinedImage]) -> list[GivenImage]:
    """Images with the first of their family as their head, which comes first."""
    first: dict[str, str] = {}
    return [GivenImage(image, first.setdefault(image.image_id.partition("/")[0], image.image_id)) for image in images]


def strangers(count: int, copies: int, seed: int) -> list[JoinedImage]:
    """Families of other images."""
    return [
        replace(image, **{kind: replace(image.embedding(kind), image_id=f"s{image.image_id}") for kind in Kind})
        for image in families(count, copies, seed)
    ]


def load(command_id: str = "c1") -> bytes:
    return command("load", command_id, data_set="corpus", version=DATA_SET.version)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def selections() -> Selections:
    return Selections()


@pytest.fixture
def make(settings: Settings, selections: Selections) -> Iterator[Make]:
    machines = Machines(settings.home)

    def start(
        *sent: bytes, rows: Sequence[GivenImage] = given(IMAGES), kill_at: str = "", step: int = 16
    ) -> ControlMachine:
        worker = settings.worker.model_copy(update={"max_batch_images": step})

        def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
            launch = partial(_launch, settings.home, rows)
            redeciding = machine.worker.redeciding
            redecide = Redecide(
                machine.store, redeciding, other_classifier, selections.fetch, lambda: True, SystemClock(), step
            )
            handler = Load(
                settings.model_copy(update={"worker": worker}),
                machine.store,
                machine.pipeline,
                MODELS,
                lambda *_: DATA_SET,
                launch,
                machine.clock,
            )
            return [register(LoadArguments, handler), register(RedecideArguments, redecide)]

        return machines.start(commands, *sent, kill_at=kill_at)

    yield start
    machines.end()


def _launch(home: Path, rows: Sequence[GivenImage], _log: Path) -> HandMade:
    return HandMade(home, rows)


def expected(rows: Sequence[GivenImage], before: dict[str, str] | None = None) -> int:
    """The digest of images in the clusters that they were given."""
    heads = {**{image.image_id: head for image, head in rows}, **(before or {})}
    return sum(layout.assignment_digest(image_id, head) for image_id, head in heads.items()) % (1 << 128)


def largest(rows: Sequence[GivenImage]) -> str:
    """The head that most images were given."""
    return Counter(head for _, head in rows).most_common(1)[0][0]


def digest(machine: ControlMachine) -> int:
    return int.from_bytes(machine.store.state().digest, "little")


def assert_sound(machine: ControlMachine) -> None:
    """Store, corpus, vectors and index agree."""
    survey = Survey(machine.store)
    assert [finding.what for finding in survey.findings] == []
    corpus, state = machine.pipeline.corpus, machine.store.state()
    assert len(corpus) == state.ordinals
    for image_id, record in machine.store.images.all():
        assert corpus.id_of(record.ordinal) == image_id
        assert corpus.id_of(corpus.head_of(record.ordinal)) == record.head
        stored = machine.store.vectors.get(record.ordinal)
        assert corpus.vectors_of(record.ordinal).lsh.tobytes() == stored.lsh
    for head, cluster in machine.store.clusters.all():
        found = machine.store.images.find(head)
        assert found is not None
        assert corpus.size_of(found.ordinal) == cluster.size
        assert corpus.representatives_of(found.ordinal) == len(cluster.representatives)
    missing = [ordinal for span in corpus.index.missing(state.ordinals) for ordinal in range(*span)]
    assert not any(map(corpus.id_of, missing))


def found_by(machine: ControlMachine, image: JoinedImage) -> set[str]:
    """What a search by an image's vectors finds."""
    added = machine.pipeline
    vectors = added.corpus.vectors_of(_ordinal(machine, image.image_id))
    preview = added.preview(vectors)
    return {candidate.image_id for candidate in preview.ruling.candidates}


def _ordinal(machine: ControlMachine, image_id: str) -> int:
    record = machine.store.images.find(image_id)
    assert record is not None
    return record.ordinal


def counts(result: pb.CommandResult) -> dict[str, int]:
    names = ("loaded", "bulk", "withheld", "known", "conflicting", "forgotten")
    return {name: int(result.values[name]) for name in names if result.values[name] != "0"}


def test_a_data_set_is_taken_in_at_one_moment(make: Make, settings: Settings) -> None:
    one = make(load())
    seen = []
    (result,) = one.run(between=lambda: seen.append(one.store.state().images))
    assert result.accepted, result.reason
    assert counts(result) == {"loaded": len(IMAGES), "bulk": len(IMAGES)}
    assert (result.values["data_set"], result.values["version"]) == ("corpus", DATA_SET.version)
    assert set(seen) == {0, len(IMAGES)}
    assert digest(one) == expected(given(IMAGES))
    assert_sound(one)
    assert not any(entry.topic == DECISIONS for _, entry in one.store.outbox.pending())
    assert list(settings.loads_path.iterdir()) == []
    decision = decode_decision(one.store.history.current(IMAGES[7].image_id))
    assert (decision.cause, decision.override_id, decision.candidates) == (Cause.GIVEN, "c1", ())


def test_no_compaction_begins_until_the_files_are_in(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    held, write = [], Store.write

    def noted(store: Store, batch: Batch | IngestBatch) -> None:
        held.append((isinstance(batch, IngestBatch), store.compactions.held))
        write(store, batch)

    monkeypatch.setattr(Store, "write", noted)
    one = make(load())
    one.run()
    assert (True, True) in held
    assert (True, False) not in held
    assert not one.store.compactions.held


def test_what_searches_read_is_in_memory_before_it_is_searched(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, images, read = make(load()), [], []

    def noted(path: Path, begin: int, end: int, _stopped: Callable[[], bool]) -> None:
        images.append(machine.store.state().images)
        read.append((path.suffix, path.stat().st_size, begin, end))

    for module in (take_in, mmap_vectors):
        monkeypatch.setattr(module, "read_into_memory", noted)
    machine.run()
    assert set(images) == {0}
    (segment, rows) = read
    assert segment[2:] == (0, segment[1])
    assert rows[0] == ".u8"
    assert rows[2] == 0
    width = rows[3] / len(IMAGES)
    assert width == int(width) > 0


def test_loaded_images_are_found_and_joined_by_the_stream_at_once_and_after_a_restart(make: Make) -> None:
    rows = given(IMAGES)
    one = make(load(), rows=rows[:-40])
    one.run()
    one.decide([image for image, _ in rows[-40:]])
    assert digest(one) == expected(rows)
    assert_sound(one)
    found = found_by(one, IMAGES[0])
    assert IMAGES[0].image_id in found
    again = make()
    assert_sound(again)
    assert found_by(again, IMAGES[0]) == found


def test_the_stream_runs_meanwhile_and_what_it_touches_is_withheld(make: Make) -> None:
    rows = given(IMAGES)
    one = make(load(), rows=rows)
    one.decide([image for image, _ in rows[:9]])
    before = dict(one.worker.heads())
    others = iter([image for image, _ in rows[20:24]] + strangers(4, 5, seed=8))

    def between() -> None:
        image = next(others, None)
        if image is not None and one.store.images.find(image.image_id) is None:
            one.decide([image])

    (result,) = one.run(between)
    assert result.accepted, result.reason
    assert int(result.values["withheld"]) > 0
    assert int(result.values["loaded"]) + int(result.values["known"]) == len(IMAGES)
    assert before.items() <= one.worker.heads().items()
    assert_sound(one)
    assert one.store.state().images == len(one.worker.heads())
    assert_sound(make())


def test_what_is_touched_after_the_deletions_are_written_is_withheld_too(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletions of a withheld cluster are files already when the stream decides its head."""
    rows = given(IMAGES)
    clusters = {head: [image for image, named in rows if named == head] for _, head in rows}
    withheld, late = [members for members in clusters.values() if len(members) > 2][:2]
    one = make(load(), rows=rows)
    flush, early, before = one.store.flush, [withheld[1]], dict[str, str]()
    flushed = Counter[str]()

    def decide_after_the_last_flush() -> None:
        flush()
        flushed["times"] += 1
        if flushed["times"] == 2:
            one.decide([withheld[0], late[1]])
            before.update(one.worker.heads())

    def decide_once() -> None:
        if early:
            one.decide([early.pop()])

    monkeypatch.setattr(one.store, "flush", decide_after_the_last_flush)
    (result,) = one.run(decide_once)
    assert result.accepted, result.reason
    assert counts(result) == {
        "loaded": len(IMAGES) - 3,
        "bulk": len(IMAGES) - len(withheld) - len(late),
        "withheld": len(withheld) + len(late),
        "known": 3,
    }
    assert len(before) == 3
    assert before.items() <= one.worker.heads().items()
    assert_sound(one)
    assert_sound(make())


POINTS = [
    *(f"prepared:{n}" for n in range(1, 6)),
    *(f"stage_committed:{n}" for n in range(1, 6)),
    "command_committed",
]


@pytest.mark.parametrize("kill_at", POINTS)
def test_a_kill_anywhere_gives_the_same_state(make: Make, settings: Settings, kill_at: str) -> None:
    rows = given(IMAGES)
    first = make()
    first.decide([image for image, _ in rows[:9]])
    before = dict(first.worker.heads())
    with pytest.raises(Killed):
        make(load(), rows=rows, kill_at=kill_at).run()
    after = make(rows=rows)
    assert_sound(after)
    assert after.store.state().images in (9, *range(100, len(IMAGES) + 1))
    after.decide(strangers(3, 3, seed=77))
    after.run()
    (result,) = after.published()
    assert result.accepted, result.reason
    assert int(result.values["loaded"]) == len(IMAGES) - 9
    assert int(result.values["known"]) == 9
    heads = {
        image_id: head for image_id, head in after.worker.heads().items() if image_id in {i.image_id for i in IMAGES}
    }
    assert before.items() <= heads.items()
    assert len(heads) == len(IMAGES)
    assert after.store.state().ordinals == len(IMAGES) + 12
    assert list(settings.loads_path.iterdir()) == []
    assert_sound(after)
    assert_sound(make())


def test_readers_see_all_or_nothing(make: Make, settings: Settings, tmp_path: Path) -> None:
    one = make(load())
    one.decide(strangers(3, 2, seed=9))
    reader = SecondaryStore(settings.store_path, tmp_path / "reader")
    seen = set()

    def look() -> None:
        reader.refresh()
        state: store_pb.StoreState = reader.state()
        seen.add(state.images)
        assert sum(1 for _ in reader.images.all()) == state.images
        assert sum(1 for _ in reader.vectors.all()) == state.images

    one.run(between=look)
    look()
    assert seen == {9, 9 + len(IMAGES)}
    reader.close()


def test_a_load_that_is_cancelled_leaves_numbers_that_the_next_one_uses(make: Make) -> None:
    one = make(load("c1"))
    for _ in range(200):
        one.turn()
        if one.store.state().reserved.end_ordinal:
            break
    (result,) = _cancel(one)
    assert not result.accepted
    one.decide(strangers(2, 2, seed=9))
    again = make(load("c2"))
    assert_sound(again)
    again.run()
    assert again.store.state().ordinals == len(IMAGES) + 6
    assert_sound(again)


def _cancel(machine: ControlMachine) -> list[pb.CommandResult]:
    machine.log.append(command("cancel", "x1", command_id="c1"))
    return [result for result in machine.run() if result.command_id == "c1"]


def test_images_of_known_clusters_are_decided_by_their_given_heads(make: Make) -> None:
    rows = given(IMAGES[:40])
    by_id = {image.image_id: image for image, _ in rows}
    first, member = next((head, image.image_id) for image, head in rows if head != image.image_id)
    one = make(load(), rows=rows)
    one.decide([by_id[member]])
    (result,) = one.run()
    assert (result.values["known"], result.values["elsewhere"], result.values["loaded"]) == ("1", "1", "39")
    assert json.loads(result.values["examples"]) == [{"image_id": member, "given": first, "head": member}]
    heads = one.worker.heads()
    assert (heads[member], heads[first]) == (member, first)
    assert digest(one) == expected(rows, {member: member})
    assert_sound(one)


def test_an_image_of_the_store_may_be_the_given_head_and_other_vectors_of_it_are_conflicting(make: Make) -> None:
    known, *others = IMAGES[:12]
    changed = replace(known, pair=replace(known.pair, vector=-known.pair.vector))
    one = make(load(), rows=[GivenImage(changed, known.image_id), *(GivenImage(i, known.image_id) for i in others)])
    one.decide([known])
    (result,) = one.run()
    assert (result.values["conflicting"], result.values["loaded"]) == ("1", "11")
    assert set(one.worker.heads().values()) == {known.image_id}
    assert_sound(one)
    again = make(load("c2"))
    (result,) = again.run()
    assert result.accepted


def test_known_images_in_another_cluster_than_given_are_reported_and_stay(make: Make) -> None:
    """Those that follow their given head into another cluster are where it is, which is what the data set says."""
    a, b, c, d, e, f = IMAGES[:6]
    one = make(load(), rows=[GivenImage(image, a.image_id) for image in (a, b, c)])
    one.run()
    before = one.worker.heads()
    two = [(b, b), (c, b), (d, b), (a, e), (e, e), (f, f)]
    rows = [GivenImage(image, head.image_id) for image, head in two]
    again = make(load("c2"), rows=rows, step=2)
    (result,) = [each for each in again.run() if each.command_id == "c2"]
    assert counts(result) == {"loaded": 3, "bulk": 1, "known": 3}
    assert result.values["elsewhere"] == "2"
    assert json.loads(result.values["examples"]) == [
        {"image_id": b.image_id, "given": b.image_id, "head": a.image_id},
        {"image_id": a.image_id, "given": e.image_id, "head": a.image_id},
    ]
    heads = again.worker.heads()
    assert before.items() <= heads.items()
    assert [heads[image.image_id] for image in (d, e, f)] == [a.image_id, e.image_id, f.image_id]


def test_the_first_images_in_another_cluster_are_listed_whatever_is_killed(make: Make) -> None:
    many = 2 * MOST_LISTED
    known = strangers(many, 0, seed=4)
    first = make()
    first.decide(known)
    (head,) = IMAGES[:1]
    rows = [GivenImage(image, head.image_id) for image in (head, *known)]
    for stage in (5, 1):
        with pytest.raises(Killed):
            make(*([load()] if stage == 5 else []), rows=rows, kill_at=f"stage_committed:{stage}").run()
    (result,) = make(rows=rows).run()
    assert (result.values["known"], result.values["elsewhere"]) == (str(many), str(many))
    listed = [each["image_id"] for each in json.loads(result.values["examples"])]
    assert listed == [image.image_id for image in known[:MOST_LISTED]]


def test_overrides_take_precedence_over_given_heads(make: Make) -> None:
    """A rollback may leave overrides that name unknown images."""
    rows = given(IMAGES)
    head = largest(rows)
    members = [image.image_id for image, named in rows if named == head and image.image_id != head]
    (known,) = strangers(1, 0, seed=3)
    one = make()
    one.decide([known])
    batch = Batch()
    for number, (action, other) in enumerate((("alone", ""), ("forbid", head), ("link", known.image_id))):
        name = f"o{number}"
        override = store_pb.Override(override_id=name, action=action, image_id=members[number], other_id=other)
        batch.put(Table.OVERRIDES, name.encode(), override.SerializeToString())
    one.store.write(batch)
    again = make(load(), rows=rows)
    (result,) = again.run()
    assert result.accepted, result.reason
    assert int(result.values["withheld"]) == len(members) + 1
    found = again.worker.heads()
    assert [found[member] for member in members[:4]] == [members[0], members[1], known.image_id, head]
    decision = decode_decision(again.store.history.current(members[1]))
    assert (decision.cause, decision.override_id) == (Cause.OVERRIDE, "o1")
    assert_sound(again)


def test_members_of_a_forgotten_head_stay_together(make: Make) -> None:
    rows = given(IMAGES)
    head = largest(rows)
    members = [image.image_id for image, named in rows if named == head and image.image_id != head]
    # The worker that forgets commits a position, which passes the first message.
    one = make(b"no command")
    one.decide([image for image, _ in rows if image.image_id == head])
    one.worker.forget(head)
    with pytest.raises(Killed):
        make(load(), rows=rows, kill_at="stage_committed:4", step=2).run()
    with pytest.raises(Killed):
        make(rows=rows, kill_at="stage_committed:1", step=2).run()
    again = make(rows=rows, step=2)
    (result,) = again.run()
    assert (result.values["forgotten"], result.values["loaded"]) == ("1", str(len(rows) - 1))
    assert {again.worker.heads()[member] for member in members} == {members[0]}
    assert_sound(again)


def test_what_is_forgotten_while_it_is_built_stays_forgotten(make: Make) -> None:
    rows = given(IMAGES[:60])
    one = make(load(), rows=rows)
    gone = rows[7].image
    done = []

    def between() -> None:
        if not done:
            one.decide([gone])
            one.worker.forget(gone.image_id)
            done.append(gone)

    (result,) = one.run(between)
    assert (result.values["forgotten"], result.values["loaded"]) == ("1", "59")
    assert gone.image_id not in one.worker.heads()
    assert not one.pipeline.corpus.vectors_of(one.store.state().reserved.first_ordinal + 7).lsh.any()
    assert_sound(one)


def test_numbers_that_do_not_suffice_stay_dead(make: Make) -> None:
    one = make(load("c1"), rows=given(IMAGES[:30]))
    while not one.store.state().reserved.end_ordinal:
        one.turn()
    _cancel(one)
    one.decide(strangers(3, 3, seed=5))
    again = make(load("c2"), rows=given(IMAGES))
    again.run()
    state = again.store.state()
    assert (state.ordinals, state.images) == (30 + 12 + len(IMAGES), 12 + len(IMAGES))
    assert_sound(again)
    assert_sound(make())


def test_a_store_restored_from_before_a_load_does_not_use_the_numbers_that_the_load_took(
    make: Make, settings: Settings
) -> None:
    one = make(load("c1"))
    one.decide(strangers(3, 3, seed=5))
    while not one.store.state().reserved.end_ordinal:
        one.turn()
    _cancel(one)
    one.close()
    copy_store(settings.store_path, settings.home / "earlier")
    two = make(load("c2"))
    two.run()
    copy_store(settings.home / "earlier", next_path(settings.store_path))
    with closing(Store(next_path(settings.store_path))) as restored:
        name_restored(two.store.state(), restored)
        carry_over(two.store, restored, None)
    two.close()
    decide_swap(settings.store_path, "a test")
    three = make(load("c3"))
    assert_sound(three)
    assert three.store.state().images == 12
    (result,) = [each for each in three.run() if each.command_id == "c3"]
    assert counts(result) == {"loaded": len(IMAGES), "bulk": len(IMAGES)}
    assert_sound(three)
    assert_sound(make())


def test_an_image_that_a_hash_of_a_bank_matches_is_labelled(make: Make) -> None:
    pdq = PdqHash(bytes(range(32)), 100)
    marked = replace(IMAGES[5], lsh=replace(IMAGES[5].lsh, pdq=pdq))
    one = make(load(), rows=given([*IMAGES[:5], marked, *IMAGES[6:60]]))
    one.worker.run_command("label-hashes", bank="spam", policy="spam", action="block", hashes=bytes(range(32)).hex())
    (result,) = one.run()
    assert result.accepted, result.reason
    assert (int(result.values["withheld"]) > 0, result.values["loaded"]) == (True, "60")
    found = one.store.labels.find("spam", marked.image_id)
    assert found is not None
    assert found.label.pdq == bytes(range(32))
    assert_sound(one)


def test_loaded_images_are_corrected_and_decided_again_like_others(make: Make, tmp_path: Path) -> None:
    rows = given(IMAGES)
    one = make(load(), rows=rows)
    one.run()
    head = largest(rows)
    members = [image.image_id for image, named in rows if named == head and image.image_id != head]
    one.worker.override("alone", members[0])
    one.worker.forget(head)
    newer = next(image.lsh for image, _ in rows if image.image_id == members[2])
    one.worker.re_embed(replace(newer, model_version="newer", event_time_ms=newer.event_time_ms + 1))
    heads = one.worker.heads()
    assert heads[members[0]] == members[0]
    assert {heads[member] for member in members[1:2] + members[3:]} == {members[1]}
    assert_sound(one)
    target = InMemoryWorker(tmp_path / "again")
    replay(one.store, target.store, target.pipeline, 7)
    assert set(target.heads()) == set(heads)
    target.close()
    assert_sound(make())


def test_loaded_images_are_chosen_and_decided_again_and_led_back(make: Make, selections: Selections) -> None:
    head, *others = [image for image in IMAGES if image.image_id.startswith("3/")]
    other = [image for image in IMAGES if image.image_id.startswith("4/")]
    # The data set makes one cluster of two families.
    rows = [GivenImage(image, head.image_id) for image in (head, *others, *other)]
    moved = [image.image_id for image in other]
    one = make(load(), rows=rows)
    one.run()
    assert digest(one) == expected(rows)
    one.log = [*one.log, command("redecide", "r1", selection=selections.put(moved))]
    (done,) = one.run()
    assert done.accepted, done.reason
    assert done.values["moved"] == str(len(moved))
    heads = one.worker.heads()
    assert {heads[image.image_id] for image in others} == {head.image_id}
    assert head.image_id not in {heads[image_id] for image_id in moved}
    assert_sound(one)
    one.log = [*one.log, command("redecide", "r2", undo="r1")]
    (undone,) = one.run()
    assert undone.accepted, undone.reason
    assert digest(one) == expected(rows)
    assert_sound(one)
    assert_sound(make())


def test_a_store_restored_to_after_a_load_has_its_images_and_knows_them(make: Make, settings: Settings) -> None:
    rows = given(IMAGES)
    one = make(load("c1"), rows=rows)
    one.run()
    one.close()
    copy_store(settings.store_path, settings.home / "earlier")
    two = make()
    gone = largest(rows)
    two.decide(strangers(3, 3, seed=5))
    two.worker.forget(gone)
    left = two.worker.heads().keys() & {image.image_id for image, _ in rows}
    copy_store(settings.home / "earlier", next_path(settings.store_path))
    with closing(Store(next_path(settings.store_path))) as restored:
        forgotten = forgotten_since(two.store, restored)
        name_restored(two.store.state(), restored)
        carry_over(two.store, restored, None)
        forget_again(restored, forgotten, "a restore", NOW_MS)
    two.close()
    decide_swap(settings.store_path, "a test")
    three = make(load("c2"), rows=rows)
    heads = three.worker.heads()
    assert heads.keys() == left == {image.image_id for image, _ in rows} - {gone}
    assert heads.items() >= {(image.image_id, head) for image, head in rows if head != gone}
    assert_sound(three)
    (result,) = [each for each in three.run() if each.command_id == "c2"]
    assert counts(result) == {"known": len(rows) - 1, "forgotten": 1}
    assert three.worker.heads() == heads
    assert_sound(three)
