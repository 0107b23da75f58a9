"""Claims about embeddings of known and of forgotten images, in the first half of a worker's step."""

from collections.abc import Callable

import numpy as np

from neardup_platform.messages.codec import Message, encode_embedding
from neardup_platform.messages.kafka_topics import EMBEDDINGS
from neardup_platform.records import Embedding, Kind, ModelSpec
from neardup_platform.settings import JoinSettings
from neardup_platform.stream.intake import Intake

NOW_MS = 1_700_000_000_000
MODELS = {Kind.LSH: ModelSpec("v1", 3), Kind.PAIR: ModelSpec("v1", 2)}
PARTITIONS = [(topic, 0) for topic in EMBEDDINGS.values()]


def message(image_id: str, kind: Kind, offset: int, version: str = "v1", time_ms: int = NOW_MS) -> Message:
    embedding = Embedding(image_id, kind, version, np.ones(MODELS[kind].dim, np.float32), time_ms)
    return Message(EMBEDDINGS[kind], 0, offset, image_id.encode(), encode_embedding(embedding))


def intake(stored: dict[str, str] | None = None, forgotten_ms: Callable[[str], int] = lambda _: 0) -> Intake:
    """Of images whose `lsh` embeddings the store has in these versions."""
    known = {} if stored is None else stored
    settings = JoinSettings(newer_lsh=("v2", "v3"))
    return Intake(settings, MODELS, PARTITIONS, [], known.__contains__, None, lambda i, _: known[i], forgotten_ms)


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


def test_a_newer_embedding_of_an_image_under_way_waits_until_it_is_decided() -> None:
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


def test_waiting_halves_of_a_forgotten_image_leave_the_room() -> None:
    taken = intake({})
    taken.take([message("a", Kind.LSH, 1), message("b", Kind.LSH, 2)], {}, NOW_MS)
    taken.forget("a")
    assert len(taken) == 1
    _, joined = taken.take([message("a", Kind.PAIR, 1), message("b", Kind.PAIR, 2)], {}, NOW_MS)
    assert [image.image_id for image in joined] == ["b"]
