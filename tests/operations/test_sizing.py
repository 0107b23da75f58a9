import json

import pytest
from click.testing import CliRunner

from neardup_platform.cli.size_command import size
from neardup_platform.operations.sizing import image_s, needs


def amounts(images: int, rate: float, retention_h: float = 168.0) -> dict[str, float]:
    return {need.what: need.amount for need in needs(images, rate, retention_h)}


def test_the_measured_cost_of_an_image_is_given_back() -> None:
    assert image_s(1_000_000, 1_000) == pytest.approx(0.86e-3)
    assert image_s(1_000_000, 200) == pytest.approx(3.0e-3, rel=0.02)
    assert image_s(10_000_000, 2_000) == pytest.approx(1.11e-3)


def test_disk_grows_with_the_images_and_kafka_with_the_rate_alone() -> None:
    one, ten, faster = amounts(1_000_000, 100), amounts(10_000_000, 100), amounts(1_000_000, 200)
    assert ten["disk: store"] == 10 * one["disk: store"]
    assert ten["disk: Kafka"] == one["disk: Kafka"]
    assert faster["disk: Kafka"] == 2 * one["disk: Kafka"]
    assert amounts(1, 100, 24)["disk: Kafka"] == one["disk: Kafka"] / 7


def test_an_amount_beyond_the_measured_corpus_says_so() -> None:
    small, large = ({need.what: need.basis for need in needs(n, 1, 1)} for n in (100_000, 100_000_000))
    assert small["disk: store"] == "measured at 10,000,000 images"
    assert large["disk: term index, mapped"] == "extrapolated from 10,000,000 images"
    assert not large["disk: Kafka"].startswith("extrapolated")


def test_the_command_prints_the_same_amounts_as_json_and_in_words() -> None:
    answer = json.loads(CliRunner().invoke(size, ["--images", "1000000", "--rate", "200", "--json"]).stdout)
    assert {row["what"]: row["amount"] for row in answer["needs"]} == amounts(1_000_000, 200, answer["retention_h"])
    words = CliRunner().invoke(size, ["--images", "1000000", "--rate", "200"]).stdout
    assert "disk: store" in words
    assert "3.7 GB" in words


@pytest.mark.parametrize("wrong", [["--images", "0"], ["--images", "ten"], ["--images", "5", "--rate", "-1"]])
def test_impossible_numbers_are_refused(wrong: list[str]) -> None:
    assert CliRunner().invoke(size, wrong).exit_code == 2
