"""Claims about the report of known images that are in another cluster than their data set says."""

import json

import dagster as dg

from assets.bootstrap import described, verdict
from neardup_platform.bootstrap.elsewhere import Elsewhere, elsewhere_in_words, from_values, to_text
from neardup_platform.bootstrap.report import CheckReport
from neardup_platform.operations.kafka_bootstrap import Bootstrapped, bootstrapped_in_words
from neardup_platform.operations.result_values import values_read

CHECK = CheckReport(9, 9, 0, 0, 0, 0, {}, 0, 1, 1, 2, vectors=True, examples=())
FOUND = (Elsewhere("a", "b", "c"), Elsewhere("d\n\x1b", "d\n\x1b", "c"))
COUNTS = {"decided": 0, "loaded": 7, "known": 2, "conflicting": 0, "forgotten": 0, "published": 0, "skipped": 0}


def loaded(count: int) -> Bootstrapped:
    counts = {**COUNTS, "elsewhere": count}
    return Bootstrapped("d", "0" * 16, CHECK, "s3://b/r", "", "s3://b/d", counts, elsewhere=FOUND[:count])


def test_the_images_of_a_result_are_read_back() -> None:
    values = values_read("load", {"elsewhere": "2", "examples": to_text(FOUND)})
    assert (values["elsewhere"], from_values(values["examples"])) == (2, FOUND)
    assert from_values(values_read("load", {"examples": to_text(())})["examples"]) == ()


def test_the_first_images_are_named_with_both_heads_and_the_next_step() -> None:
    first, *named = elsewhere_in_words(70, FOUND, most=1)
    assert first.startswith("70 known images in another cluster than given: they stay where they are")
    assert "`neardup override move IMAGE --to GIVEN_HEAD`" in first
    assert named == ["  a: given b, is in c"]
    assert elsewhere_in_words(0, ()) == []


def test_a_load_says_how_many_there_are_and_its_check_warns() -> None:
    assert "2 of these in another cluster than given" in bootstrapped_in_words(loaded(2).flat())
    assert json.loads(json.dumps(loaded(2).flat()))["elsewhere"][0] == {"image_id": "a", "given": "b", "head": "c"}
    check = verdict(loaded(2))
    assert (check.passed, check.description) == (False, "left out: 2 in another cluster than given")
    shown = described(loaded(2))
    assert isinstance(shown["known_in_another_cluster"], dg.TableMetadataValue)
    assert [record.data["given"] for record in shown["known_in_another_cluster"].records] == ["b", "d\n\x1b"]
    assert "override_csv" in shown["to_move_them"]


def test_a_load_without_such_images_is_as_before_and_so_is_one_of_an_earlier_release() -> None:
    assert verdict(loaded(0)).passed
    assert "to_move_them" not in described(loaded(0))
    earlier = Bootstrapped("d", "0" * 16, CHECK, "s3://b/r", "", "s3://b/d", COUNTS)
    assert "0 of these in another cluster" in bootstrapped_in_words(earlier.flat())
    assert verdict(earlier).passed
