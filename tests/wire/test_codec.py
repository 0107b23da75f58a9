"""Claims about the wire format. Golden bytes protect producers in other languages."""

import math
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neardup_platform.errors import BadMessage
from neardup_platform.records import Candidate, Decision, Embedding, HeldApart, Kind, Label, ModelSpec, PdqHash
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import (
    REASONS,
    Message,
    decision_event_id,
    decode_decision,
    decode_embedding,
    encode_decision,
    encode_embedding,
)

NOW_MS = 1_700_000_000_000
GOLDEN_EMBEDDING = "0a05636174203110011a027631220c0000803f000000c00000003f28013080d095ffbc313a0673333a2f2f78"


def raw(**changes: object) -> pb.EmbeddingReady:
    values = {
        "image_id": "cat 1",
        "kind": pb.KIND_LSH,
        "model_version": "v1",
        "vector": np.array([1, -2, 0.5], "<f4").tobytes(),
        "dtype": pb.DTYPE_FLOAT32,
        "event_time_ms": NOW_MS,
        "source_uri": "s3://x",
    }
    return pb.EmbeddingReady(**{**values, **changes})


def message(value: bytes, key: bytes = b"cat 1") -> Message:
    return Message("neardup.embeddings.lsh", 2, 77, key, value)


def decode(value: bytes, key: bytes = b"cat 1") -> Embedding:
    return decode_embedding(message(value, key), Kind.LSH, ModelSpec("v1", 3), NOW_MS)


def test_a_pdq_hash_is_optional_and_survives_the_wire() -> None:
    assert decode(raw().SerializeToString()).pdq is None
    blank = decode(raw(pdq=bytes(32)).SerializeToString())
    assert (blank.pdq, blank.pdq is not None and blank.pdq.reliable) == (PdqHash(bytes(32), 0), False)
    hashed = replace(blank, pdq=PdqHash(bytes(range(32)), 100))
    assert decode(encode_embedding(hashed)).pdq == hashed.pdq


def test_golden_embedding_is_read_and_written_unchanged() -> None:
    assert raw().SerializeToString(deterministic=True).hex() == GOLDEN_EMBEDDING
    embedding = decode(bytes.fromhex(GOLDEN_EMBEDDING))
    assert embedding.vector.tolist() == [1, -2, 0.5]
    assert (embedding.image_id, embedding.model_version, embedding.source_uri) == ("cat 1", "v1", "s3://x")


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("unknown-kind", {"kind": pb.KIND_PAIR}),
        ("unknown-kind", {"kind": 9}),
        ("bad-id", {"image_id": ""}),
        ("bad-id", {"image_id": "x" * 513}),
        ("bad-id", {"image_id": "a\nb"}),
        ("bad-id", {"image_id": "other"}),
        ("bad-id", {"image_id": "."}),
        ("bad-id", {"image_id": ".."}),
        ("bad-id", {"image_id": "a\u2028b"}),
        ("bad-id", {"image_id": "a\u2029b"}),
        ("bad-id", {"image_id": "a\x9bb"}),
        ("bad-id", {"image_id": "a\x7fb"}),
        ("other-version", {"model_version": "v2"}),
        ("bad-uri", {"source_uri": "x" * 3000}),
        ("bad-time", {"event_time_ms": 0}),
        ("bad-time", {"event_time_ms": -5}),
        ("bad-time", {"event_time_ms": NOW_MS // 1_000}),
        ("bad-time", {"event_time_ms": 946_684_799_999}),
        ("bad-time", {"event_time_ms": NOW_MS * 1_000}),
        ("bad-time", {"event_time_ms": NOW_MS + 2 * 86_400_000}),
        ("bad-pdq", {"pdq": bytes(31), "pdq_quality": 50}),
        ("bad-pdq", {"pdq": bytes(32), "pdq_quality": 101}),
        ("bad-pdq", {"pdq_quality": 1}),
        ("bad-dtype", {"dtype": 7}),
        ("bad-dimension", {"vector": b"\0" * 16}),
        ("bad-dimension", {"vector": b"\0" * 11}),
        ("not-finite", {"vector": np.array([1, math.nan, 1], "<f4").tobytes()}),
        ("not-finite", {"vector": np.array([1, math.inf, 1], "<f4").tobytes()}),
        ("not-finite", {"vector": np.array([1, 7e4, 1], "<f4").tobytes()}),
        ("zero-vector", {"vector": bytes(12)}),
        ("zero-vector", {"vector": np.full(3, 1e-9, "<f4").tobytes()}),
        ("bad-length", {"vector": np.full(3, 1e-6, "<f4").tobytes()}),
        ("bad-length", {"vector": np.full(3, 1e-6, "<f2").tobytes(), "dtype": pb.DTYPE_FLOAT16}),
        ("bad-length", {"vector": np.full(3, 1e-3, "<f4").tobytes()}),
    ],
)
def test_invalid_message_is_refused_with_its_reason(reason: str, changes: dict[str, object]) -> None:
    assert reason in REASONS
    sent = raw(**changes)
    key = str(changes.get("image_id", "cat 1")) if changes.get("image_id") != "other" else "cat 1"
    with pytest.raises(BadMessage) as refused:
        decode(sent.SerializeToString(), key.encode())
    assert refused.value.reason == reason


NAMES = {
    "a macOS screenshot": "Screenshot 2026-11-26 at 9.41.00\u202fAM.png",
    "a family emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467.jpg",
    "a Persian word": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.jpg",
    "right to left": "\u202eabc.jpg",
    "a soft hyphen": "a\u00adb",
    "a no-break space": "a\u00a0b",
    "a private character": "\ue000.jpg",
    "512 bytes": "\u00e9" * 256,
    "a hidden file": ".a",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_every_plausible_file_name_is_a_valid_id(name: str) -> None:
    assert decode(raw(image_id=name).SerializeToString(), name.encode()).image_id == name


def test_the_composed_and_the_decomposed_form_of_a_name_are_two_ids() -> None:
    names = [unicodedata.normalize(form, "caf\u00e9.jpg") for form in ("NFC", "NFD")]
    assert [decode(raw(image_id=n).SerializeToString(), n.encode()).image_id for n in names] == names
    assert len(set(names)) == 2


@pytest.mark.parametrize("key", [b"", b"cat 1"])
def test_a_tombstone_has_its_own_reason_which_names_the_command(key: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        decode(b"", key)
    assert refused.value.reason == "tombstone"
    assert "neardup forget" in refused.value.detail


def test_the_error_about_a_time_in_seconds_says_so() -> None:
    with pytest.raises(BadMessage, match=r"looks like seconds: multiply by 1,000"):
        decode(raw(event_time_ms=NOW_MS // 1_000).SerializeToString())


def test_a_pair_vector_may_be_zero_but_must_not_become_zero_in_float16() -> None:
    def pair(values: NDArray[np.float32]) -> Embedding:
        sent = raw(kind=pb.KIND_PAIR, vector=values.astype("<f4").tobytes())
        return decode_embedding(message(sent.SerializeToString()), Kind.PAIR, ModelSpec("v1", 3), NOW_MS)

    assert not pair(np.zeros(3, np.float32)).vector.any()
    assert pair(np.array([1, 1e-9, 0], np.float32)).vector[0] == 1
    with pytest.raises(BadMessage) as refused:
        pair(np.full(3, 1e-9, np.float32))
    assert refused.value.reason == "bad-length"


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(value: bytes) -> None:
    try:
        embedding = decode(value)
    except BadMessage as refused:
        assert refused.reason in REASONS
    else:
        assert np.isfinite(embedding.vector).all()


def test_embedding_survives_the_wire_as_float16() -> None:
    sent = Embedding("é/ü.jpg", Kind.PAIR, "v", np.array([0.1, -3.0], np.float32), NOW_MS - 5, "")
    back = decode_embedding(message(encode_embedding(sent), "é/ü.jpg".encode()), Kind.PAIR, ModelSpec("v", 2), NOW_MS)
    assert back.vector.tolist() == sent.vector.astype(np.float16).tolist()
    assert (back.image_id, back.kind, back.event_time_ms) == (sent.image_id, sent.kind, NOW_MS - 5)


def test_decision_survives_the_wire() -> None:
    decision = Decision(
        sequence=3,
        image_id="b",
        head="a",
        score=0.5,
        head_score=0.25,
        candidates=(Candidate("a", 12, 0.5, "a"),),
        candidates_found=9,
        bridges=("z",),
        threshold=0.5,
        head_threshold=0.25,
        terms_version="t",
        classifier_version="c",
        event_time_ms=1,
        decided_ms=2,
    )
    assert decode_decision(encode_decision(decision)) == decision
    assert pb.Decision.FromString(encode_decision(decision)).event_id == decision_event_id("b", 3)


def test_a_guard_survives_the_wire_and_an_earlier_decision_has_none() -> None:
    before = pb.Decision(image_id="b", head="b", bridges=["a"])
    decision = decode_decision(before.SerializeToString())
    assert decision.guard is None
    assert not pb.Decision.FromString(encode_decision(decision)).HasField("guard")
    guarded = replace(decision, guard=HeldApart("chain-suspected", "a", 2, 9, 1_100_000))
    assert decode_decision(encode_decision(guarded)) == guarded


def test_labels_survive_the_wire_and_an_earlier_decision_has_none() -> None:
    decision = decode_decision(pb.Decision(image_id="b", head="a").SerializeToString())
    assert decision.labels == ()
    labelled = replace(
        decision, labels=(Label("l1", "one", "a", "hate", "block"), Label("l2", "two", "a", "p", "x", "ab" * 32, 7))
    )
    assert decode_decision(encode_decision(labelled)) == labelled


def test_distinctiveness_and_corpus_size_survive_the_wire() -> None:
    decision = decode_decision(pb.Decision(image_id="b", head="b").SerializeToString())
    assert (decision.undistinctive, decision.corpus_images) == (False, 0)
    plain = replace(decision, undistinctive=True, corpus_images=1 << 31)
    assert decode_decision(encode_decision(plain)) == plain


def test_kinds_survive_the_wire_and_an_earlier_decision_has_none() -> None:
    before = pb.Candidate(image_id="c", overlap=3, score=0.75, head="a")
    earlier = pb.Decision(image_id="b", head="a", score=0.75, candidates=[before])
    decision = decode_decision(earlier.SerializeToString())
    assert (decision.kind, decision.candidates[0].kind) == ("", "")
    head = Candidate("a", 5, 0.875, "x", "same-template")
    named = replace(decision, candidates=(head, replace(decision.candidates[0], kind="altered-copy")))
    assert named.kind == "altered-copy"
    assert decode_decision(encode_decision(named)) == named
    assert pb.Decision.FromString(encode_decision(named)).kind == "altered-copy"


def test_a_founder_and_an_image_put_where_it_has_no_match_joined_for_no_kind() -> None:
    decision = decode_decision(pb.Decision(image_id="b", head="b").SerializeToString())
    candidates = (Candidate("c", 5, 0.875, "b", "same"), Candidate("d", 5, 0.25, "a", "same-template"))
    assert replace(decision, candidates=candidates, score=0.875).kind == ""
    assert replace(decision, candidates=candidates, head="a", score=0.0, override_id="o").kind == ""


def test_event_ids_differ_by_image_and_sequence() -> None:
    ids = {decision_event_id(image, sequence) for image in ("a", "1/a", "b") for sequence in (1, 11)}
    assert len(ids) == 6
