"""Silence is what a listener has witnessed, whatever the clock of the one that signs."""

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.supervise.silence import Listening

MOST_S = 30.0


def test_a_sign_that_changes_ends_the_silence_even_if_it_goes_backwards() -> None:
    heard = Listening().after({"a": 100}, 0.0, MOST_S).after({"a": 100}, 20.0, MOST_S)
    assert heard.runs["a"].silent_s == 20.0
    assert heard.after({"a": 50}, 40.0, MOST_S).runs["a"].silent_s == 0.0


def test_one_look_adds_a_bounded_silence_and_a_clock_set_back_adds_none() -> None:
    heard = Listening().after({"a": 1}, 1_000.0, MOST_S)
    assert heard.after({"a": 1}, 9_000.0, MOST_S).runs["a"].silent_s == MOST_S
    assert heard.after({"a": 1}, 10.0, MOST_S).runs["a"].silent_s == 0.0


def test_a_run_without_a_sign_is_dropped() -> None:
    assert not Listening().after({"a": 1}, 1.0, MOST_S).after({}, 2.0, MOST_S).runs


@given(st.dictionaries(st.text(), st.integers(0, 2**53)), st.floats(0, 1e10))
def test_a_cursor_is_read_as_it_was_written(signs: dict[str, int], now_s: float) -> None:
    heard = Listening().after(signs, now_s, MOST_S)
    assert Listening.from_json(heard.to_json()) == heard


@given(
    st.none() | st.text() | st.sampled_from(["[]", "{}", '{"at_s": 1, "runs": {"a": []}}', '{"at_s": 1, "runs": 2}'])
)
def test_any_other_cursor_counts_as_none(text: str | None) -> None:
    assert Listening.from_json(text) == Listening()
