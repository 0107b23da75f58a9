"""Untrusted text on a terminal: nothing in it controls the terminal, and everything in it is readable."""

import io
import json
import logging
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.terminal_text import VisibleFormatter, json_text, one_line, visible, visible_values

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates too


@given(ANY_TEXT)
def test_no_control_character_or_change_of_direction_passes(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(c) for c in shown} & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI"}
    shown.encode()


def test_escapes_show_what_they_replace() -> None:
    assert visible("\x1b[31m\u202etxt\x9b\udcff\n") == "\\x1b[31m\\u202etxt\\x9b\\udcff\\x0a"
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_ordinary_names_are_unchanged() -> None:
    for name in (
        "Screenshot 9.41.00\u202fAM.png",
        "\U0001f468\u200d\U0001f469.jpg",
        "می\u200cخواهم",
        "é\u0301",
        "[red]",
        " two  spaces.jpg ",
    ):
        assert visible(name) == one_line(name) == name


def test_the_lines_of_an_error_become_one() -> None:
    assert one_line("cannot read:\n    row 1,  \r\n\tcolumn 'a  b'\n") == "cannot read: row 1, column 'a  b'"


def test_values_cannot_forge_a_line() -> None:
    answer = {"reason": "fine\n9 images forgotten", "counts": {"a\x1b": 1}, "list": ["\r", 2.5, None, True]}
    assert visible_values(answer) == {
        "reason": "fine\\x0a9 images forgotten",
        "counts": {"a\\x1b": 1},
        "list": ["\\x0d", 2.5, None, True],
    }


# As in names that are not UTF-8: JSON reads adjacent high and low surrogates as one character.
NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))


@given(st.dictionaries(NAMES, NAMES | st.integers() | st.lists(NAMES)))
def test_json_is_exact_and_still_controls_no_terminal(value: object) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert visible(text) == text


def test_a_message_cannot_forge_another_record_of_the_log() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(VisibleFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("a test")
    log.addHandler(handler)
    log.warning("by %s", "mallory\nERROR all is lost\x1b[2J")
    try:
        raise ValueError("odd \x1b[2J")
    except ValueError:
        log.exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "WARNING by mallory\\x0aERROR all is lost\\x1b[2J"
    assert lines[-1] == "ValueError: odd \\x1b[2J"
