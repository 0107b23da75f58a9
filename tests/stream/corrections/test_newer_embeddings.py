"""Claims about embeddings of known and of forgotten images, as they are taken."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.stream.intake import Intake
from neardup_platform.stream.steps import Consumed
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message, encode_embedding
from neardup_platform.wire.topics import EMBEDDINGS

NOW_MS = 1_700_000_000_000
MODELS = {Kind.LSH: ModelSpec("v1", 3), Kind.PAIR: ModelSpec("v1", 2)}
PARTITIONS = [(topic, 0) for topic in EMBEDDINGS.values()]


def half(
    image_id: str,
    kind: Kind,
    version: str = "v1",
    time_ms: int = NOW_MS,
    *,
    picture: float = 1.0,
    replaces: bool = False,
) -> Embedding:
    """An embedding of one of many pictures: those of different `picture` point in different directions."""
    vector = np.array([1, picture, 0.3][: MODELS[kind].dim], np.float32)
    return Embedding(image_id, kind, version, vector, time_ms, replaces=replaces)


def sent(embedding: Embedding, offset: int) -> Message:
    topic = EMBEDDINGS[embedding.kind]
    return Message(topic, 0, offset, embedding.image_id.encode(), encode_embedding(embedding))


def message(image_id: str, kind: Kind, offset: int, version: str = "v1", time_ms: int = NOW_MS) -> Message:
    return sent(half(image_id, kind, version, time_ms), offset)


def intake(
    stored: dict[str, str] | None = None,
    forgotten_ms: Callable[[str], int] = lambda _: 0,
    waiting: Iterable[store_pb.UnpairedRecord] = (),
) -> Intake:
    """Of images whose `lsh` embeddings the store has in these versions."""
    known = {} if stored is None else stored
    settings = JoinSettings(newer_lsh=("v2", "v3"))

    def image(image_id: str) -> JoinedImage:
        return JoinedImage(half(image_id, Kind.LSH, known[image_id]), half(image_id, Kind.PAIR))

    return Intake(settings, MODELS, PARTITIONS, waiting, known.__contains__, None, image, forgotten_ms)


def test_a_newer_embedding_of_a_known_image_is_held_back_for_a_step_of_its_own() -> None:
    taken = intake({"old": "v1"})
    messages = [message("a", Kind.LSH, 0), message("old", Kind.LSH, 1, "v2"), message("a", Kind.PAIR, 0)]
    step, joined = taken.take(messages, {}, NOW_MS)
    assert (joined, step.positions) == ([], {(EMBEDDINGS[Kind.LSH], 0): 1})
    assert taken.holds_newer
    newer = taken.take_newer(NOW_MS)
    assert newer is not None
    step, embedding = newer
    assert (embedding.image_id, embedding.model_version) == ("old", "v2")
    assert step.positions == {(EMBEDDINGS[Kind.LSH], 0): 2}
    assert step.counts == {"received": 1, "re_embedded": 1}
    assert taken.take_newer(NOW_MS) is None
    step, joined = taken.take([], {}, NOW_MS)
    assert [image.image_id for image in joined] == ["a"]
    assert not taken.holds_newer


def test_the_same_or_an_older_version_is_a_repeat() -> None:
    for stored, version in (("v2", "v2"), ("v3", "v2"), ("v1", "v1"), ("v2", "v1")):
        step, joined = intake({"old": stored}).take([message("old", Kind.LSH, 1, version)], {}, NOW_MS)
        assert (joined, step.counts) == ([], {"received": 1, "repeated": 1})


def test_a_version_in_no_list_is_a_dead_letter() -> None:
    step, _ = intake().take([message("a", Kind.PAIR, 1, "v2"), message("a", Kind.LSH, 1, "v4")], {}, NOW_MS)
    assert [error.reason for _, error in step.dead] == ["other-version"] * 2


def test_a_new_image_may_have_newer_embeddings() -> None:
    taken = intake({})
    _, joined = taken.take([message("a", Kind.LSH, 1, "v3"), message("a", Kind.PAIR, 1)], {}, NOW_MS)
    assert [image.lsh.model_version for image in joined] == ["v3"]
    assert not taken.holds_newer


def test_a_newer_embedding_of_an_image_in_flight_waits_until_it_is_decided() -> None:
    stored: dict[str, str] = {}
    taken = intake(stored)
    messages = [message("a", Kind.LSH, 1), message("a", Kind.PAIR, 1), message("a", Kind.LSH, 2, "v2")]
    _, joined = taken.take(messages, {}, NOW_MS)
    assert len(joined) == 1
    assert taken.holds_newer
    stored["a"] = "v1"
    taken.committed(["a"])
    newer = taken.take_newer(NOW_MS)
    assert newer is not None
    assert newer[1].model_version == "v2"


def test_an_image_forgotten_while_its_newer_embedding_is_held_back_is_not_known_any_more() -> None:
    stored, forgotten = {"old": "v1", "other": "v1"}, {"old": 0}
    taken = intake(stored, lambda image_id: forgotten.get(image_id, 0))
    later = message("old", Kind.LSH, 2, "v2", NOW_MS - 10)
    taken.take([message("old", Kind.LSH, 1, "v2", NOW_MS - 30), later], {}, NOW_MS)
    assert taken.holds_newer
    del stored["old"]
    forgotten["old"] = NOW_MS - 20
    taken.forget("old")
    assert taken.take_newer(NOW_MS) is None
    step, joined = taken.take([], {}, NOW_MS)
    assert (joined, step.counts) == ([], {"received": 2, "forgotten": 1})
    assert [half.embedding.event_time_ms for half in step.entered] == [NOW_MS - 10]
    assert (len(taken), taken.holds_newer) == (1, False)


def test_a_clock_set_back_while_a_newer_embedding_is_held_back_makes_a_dead_letter_of_it() -> None:
    taken = intake({"old": "v1"})
    taken.take([message("old", Kind.LSH, 1, "v2")], {}, NOW_MS)
    earlier_ms = NOW_MS - 3 * 24 * 3_600_000
    assert taken.take_newer(earlier_ms) is None
    step, _ = taken.take([], {}, earlier_ms)
    assert [error.reason for _, error in step.dead] == ["bad-time"]
    assert not taken.holds_newer


def test_held_back_embeddings_keep_no_clock_from_moving_afterwards() -> None:
    taken = intake({"old": "v1"})
    taken.take([message("old", Kind.LSH, 1, "v2")], dict.fromkeys(PARTITIONS, NOW_MS), NOW_MS)
    assert taken.take_newer(NOW_MS) is not None
    step, _ = taken.take([message("b", Kind.PAIR, 3)], dict.fromkeys(PARTITIONS, NOW_MS), NOW_MS)
    assert step.positions == {(EMBEDDINGS[Kind.PAIR], 0): 4}


def test_embeddings_made_before_an_image_was_forgotten_are_dropped_and_later_ones_are_not() -> None:
    taken = intake({}, lambda image_id: NOW_MS if image_id == "gone" else 0)
    messages = [message("gone", Kind.LSH, 1), message("gone", Kind.PAIR, 1, time_ms=NOW_MS - 1)]
    step, joined = taken.take(messages, {}, NOW_MS)
    assert (joined, step.counts, len(taken)) == ([], {"received": 2, "forgotten": 2}, 0)
    later = [message("gone", kind, 2, time_ms=NOW_MS + 1) for kind in Kind]
    _, joined = taken.take(later, {}, NOW_MS)
    assert [image.image_id for image in joined] == ["gone"]


def test_forgetting_an_image_drops_its_unpaired_embeddings() -> None:
    taken = intake({})
    taken.take([message("a", Kind.LSH, 1), message("b", Kind.LSH, 2)], {}, NOW_MS)
    taken.forget("a")
    assert len(taken) == 1
    _, joined = taken.take([message("a", Kind.PAIR, 1), message("b", Kind.PAIR, 2)], {}, NOW_MS)
    assert [image.image_id for image in joined] == ["b"]


def reasons(step: Consumed) -> list[str]:
    return [error.reason for _, error in step.dead]


def test_another_vector_of_a_known_image_is_refused_and_names_the_command_that_replaces() -> None:
    for kind in Kind:
        step, joined = intake({"old": "v1"}).take([sent(half("old", kind, picture=5), 1)], {}, NOW_MS)
        assert (joined, step.counts) == ([], {"received": 1, "dead_lettered": 1})
        assert reasons(step) == ["conflicting"]
        assert "neardup ingest --replace" in step.dead[0][1].detail


def test_a_vector_that_differs_by_rounding_only_is_a_repeat() -> None:
    exact = half("old", Kind.LSH).vector
    nearly = replace(half("old", Kind.LSH), vector=exact * np.float32(1.0003))
    raw = pb.EmbeddingReady.FromString(encode_embedding(nearly))
    raw.vector, raw.dtype = nearly.vector.astype("<f4").tobytes(), pb.DTYPE_FLOAT32
    message = Message(EMBEDDINGS[Kind.LSH], 0, 1, b"old", raw.SerializeToString())
    step, _ = intake({"old": "v1"}).take([message], {}, NOW_MS)
    assert step.counts == {"received": 1, "repeated": 1}


def test_of_two_pictures_under_one_new_id_the_first_is_decided_and_never_a_mixture() -> None:
    """However far one topic is read ahead of the other."""
    first = [half("a", kind) for kind in Kind]
    other = [half("a", kind, time_ms=NOW_MS + 1, picture=5) for kind in Kind]
    for order in ("01xy", "0x1y", "10xy", "10yx", "1y0x"):
        read = [{"0": first[0], "1": first[1], "x": other[0], "y": other[1]}[name] for name in order]
        step, joined = intake().take([sent(e, n) for n, e in enumerate(read)], {}, NOW_MS)
        assert [image.lsh.vector[1] == image.pair.vector[1] == 1 for image in joined] == [True]
        assert reasons(step) == ["conflicting"] * 2


def replacement(time_ms: int = NOW_MS + 1, picture: float = 5) -> list[Embedding]:
    return [half("old", kind, time_ms=time_ms, picture=picture, replaces=True) for kind in Kind]


def test_a_replacement_is_held_back_until_both_of_its_embeddings_are_there() -> None:
    taken = intake({"old": "v1"})
    lsh, pair = replacement()
    step, _ = taken.take([sent(lsh, 1)], {}, NOW_MS)
    assert (step.counts, len(taken), taken.holds_newer) == ({"received": 1}, 1, False)
    step, joined = taken.take([sent(pair, 1), message("b", Kind.PAIR, 2)], {}, NOW_MS)
    assert (joined, step.positions, taken.holds_newer) == ([], {}, True)
    newer = taken.take_newer(NOW_MS)
    assert newer is not None
    step, image = newer
    assert isinstance(image, JoinedImage)
    assert (image.lsh.vector[1], image.pair.vector[1]) == (5, 5)
    assert step.counts == {"received": 1, "re_embedded": 2}
    assert [h.key for h in step.left] == [(Kind.LSH, "old")]
    assert (step.positions, len(taken)) == ({(EMBEDDINGS[Kind.PAIR], 0): 2}, 0)


def test_a_replacement_delivered_again_or_overtaken_changes_nothing() -> None:
    again = [sent(half("old", kind, replaces=True), 1) for kind in Kind]
    step, _ = intake({"old": "v1"}).take(again, {}, NOW_MS)
    assert step.counts == {"received": 2, "repeated": 2}
    step, _ = intake({"old": "v1"}).take([sent(e, 1) for e in replacement(NOW_MS - 1)], {}, NOW_MS)
    assert reasons(step) == ["conflicting"] * 2


def test_a_replacement_is_never_paired_with_a_plain_embedding_of_an_image_in_flight() -> None:
    plain, other = [half("old", kind) for kind in Kind], replacement()
    taken = intake({})
    read = [plain[0], other[0], other[1], plain[1]]
    step, joined = taken.take([sent(e, n) for n, e in enumerate(read)], {}, NOW_MS)
    assert [(i.lsh.vector[1], i.pair.vector[1]) for i in joined] == [(5, 5)]
    assert step.counts == {"received": 4, "repeated": 1, "dead_lettered": 1}
    assert reasons(step) == ["conflicting"]


def test_a_replacement_of_an_image_in_flight_waits_until_it_is_decided() -> None:
    stored: dict[str, str] = {}
    taken = intake(stored)
    read = [*(half("old", kind) for kind in Kind), *replacement()]
    _, joined = taken.take([sent(e, n) for n, e in enumerate(read)], {}, NOW_MS)
    assert len(joined) == 1
    assert taken.holds_newer
    stored["old"] = "v1"
    taken.committed(["old"])
    newer = taken.take_newer(NOW_MS)
    assert newer is not None
    assert isinstance(newer[1], JoinedImage)


def test_an_unpaired_embedding_that_is_no_longer_accepted_is_dead_lettered_with_its_reason() -> None:
    old = [half(name, Kind.LSH, time_ms=time_ms) for name, time_ms in (("seconds", 1_700_000_000), ("..", NOW_MS))]
    topic = EMBEDDINGS[Kind.LSH]
    waiting = [store_pb.UnpairedRecord(value=encode_embedding(e), topic=topic, offset=n) for n, e in enumerate(old)]
    taken = intake({}, waiting=waiting)
    step, _ = taken.take([], {}, NOW_MS)
    assert reasons(step) == ["bad-time", "bad-id"]
    assert [half.key for half in step.left] == [(Kind.LSH, "seconds"), (Kind.LSH, "..")]
    assert step.counts == {"dead_lettered": 2}
    assert taken.take([], {}, NOW_MS)[0].empty
