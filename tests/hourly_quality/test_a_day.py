"""Claims about a day: healthy hours raise nothing, and each planted fault turns the right checks red, and no other."""

import pytest

from neardup_platform.settings import Settings
from tests.hourly_quality.measured_day import FAULTS, measured_day, serving_traffic

# Together with the faults, a day.
HEALTHY_HOURS = 24 - len(FAULTS)


@pytest.mark.slow
def test_a_day_in_fast_forward(empty_log: Settings) -> None:
    """By night there is too little to judge, by day 1,000 images an hour; thresholds are those of the defaults."""
    with serving_traffic(empty_log) as settings:
        hours = list(measured_day(settings, HEALTHY_HOURS, list(FAULTS), most=1_000))
    assert len({each.hour for each in hours}) == 24
    healthy = [each for each in hours if not each.planted]
    assert {each.hour: each.red for each in healthy if each.red} == {}
    found = {each.planted: set(each.red) for each in hours if each.planted}
    assert found == {name: checks for name, (_, checks) in FAULTS.items()}
    (flooded,) = (each.red["no_cluster_is_flooded"] for each in hours if each.planted == "a flood of spam")
    assert "spam-" in flooded, "the cluster is named"
    assert "quarantine" in flooded
