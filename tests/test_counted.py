"""Claims about numbers with their noun."""

import pytest

from neardup_platform.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1_234, "image", "1,234 images"),
        (2, "match", "2 matches"),
        (1, "copy", "1 copy"),
        (2, "copy", "2 copies"),
        (2, "day", "2 days"),
    ],
)
def test_the_noun_follows_the_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
