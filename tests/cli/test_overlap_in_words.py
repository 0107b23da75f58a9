"""Claims about where two pictures agree, in words."""

import pytest

from neardup_platform.cli.overlap_in_words import relation_in_words
from neardup_platform.structure.overlap import Relation


@pytest.mark.parametrize("relation", Relation)
def test_every_relation_has_words_that_name_both_pictures(relation: Relation) -> None:
    overlap = {"relation": relation.value, "a_covered": 0.6, "b_covered": 0.25}
    words = relation_in_words({"overlap": overlap, "reason": ""}, "this", "that")
    assert "this" in words
    assert "that" in words


def test_the_share_is_that_of_the_picture_around_the_other() -> None:
    overlap = {"relation": "a inside b", "a_covered": 1.0, "b_covered": 0.25}
    assert relation_in_words({"overlap": overlap}, "it", "cat.jpg") == "it lies inside cat.jpg and shows 25% of it"


def test_what_is_not_available_has_its_reason() -> None:
    assert "no sketch" in relation_in_words({"overlap": None, "reason": "no sketch"}, "it", "cat.jpg")
