"""Claims about a day: healthy hours raise nothing, and each planted fault turns the right checks red, and no other."""

import pytest

from neardup_platform.hourly_quality import recall
from neardup_platform.settings import Settings
from tests.hourly_quality.measured_day import FAULTS, measured_day, serving_traffic

HEALTHY_HOURS = 24


@pytest.mark.slow
def test_a_day_in_fast_forward(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole day of ten images an hour by night and 1,000 in the afternoon, then an hour with each fault."""
    # A busy machine measures every sample whole, too.
    monkeypatch.setattr(recall, "_MOST_S", 900.0)
    monkeypatch.setattr(recall, "_TIMEOUT_S", 120.0)
    with serving_traffic(empty_log) as settings:
        hours = list(measured_day(settings, HEALTHY_HOURS, list(FAULTS), most=1_000, steep=2))
    assert len({each.hour for each in hours}) == HEALTHY_HOURS + len(FAULTS)
    healthy = [each for each in hours if not each.planted]
    assert len(healthy) == HEALTHY_HOURS
    assert {each.hour: each.red for each in healthy if each.red} == {}
    found = {each.planted: set(each.red) for each in hours if each.planted}
    assert found == {name: checks for name, (_, checks) in FAULTS.items()}
    (flooded,) = (each.red["no_cluster_is_flooded"] for each in hours if each.planted == "a flood of spam")
    assert "spam-" in flooded, "the cluster is named"
    assert "quarantine" in flooded
