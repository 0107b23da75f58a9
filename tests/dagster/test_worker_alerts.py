"""What people are told about a worker in trouble: a supervised run, its checks, the sensor, a real webhook."""

import json
import os
import signal
from collections.abc import Callable, Iterator

import dagster as dg
import pytest

import resources.instance_problems as instance_problems_module
from assets.stream_worker import stream_worker_asset
from assets.stream_worker_checks import stream_worker_checks
from jobs.stream_worker import stream_worker
from neardup_platform.supervise.heartbeat import pause
from neardup_platform.testing import eventually
from resources.platform import PlatformResource
from sensors.alerts_sensor import alerts_sensor
from tests.alerts.test_alerts import webhook
from tests.dagster.supervised import SupervisedRun, alive

pytestmark = pytest.mark.slow

defs = dg.Definitions(
    assets=[stream_worker_asset],
    asset_checks=[stream_worker_checks],
    jobs=[stream_worker],
    resources={"platform": PlatformResource()},
)
Look = Callable[[], list[str]]


@pytest.fixture
def look(supervised: SupervisedRun, monkeypatch: pytest.MonkeyPatch) -> Iterator[Look]:
    """One look of the sensor at the instance of the run; returns the first lines of what the webhook got."""
    for name, value in supervised.environment.items():
        monkeypatch.setenv(name, value)
    cursors: list[str | None] = [None]
    with webhook(200) as (url, bodies), dg.DagsterInstance.from_config(str(supervised.dagster_home)) as instance:
        monkeypatch.setenv("NEARDUP_ALERTS_WEBHOOK", url)

        def once() -> list[str]:
            bodies.clear()
            with dg.build_sensor_context(
                instance=instance,
                cursor=cursors[-1],
                repository_def=defs.get_repository_def(),
                resources={"platform": PlatformResource()},
            ) as context:
                result = alerts_sensor(context)
            assert isinstance(result, dg.SensorResult)
            cursors.append(result.cursor)
            return [json.loads(body)["text"] for body in bodies]

        yield once


def lingers(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """For how long what is over still counts, so that what flaps is one problem."""
    monkeypatch.setattr(instance_problems_module, "LINGERS_S", seconds)


def said(look: Look, first: str) -> str:
    """The next message, the only one of its look, which must begin like this; every look before it says nothing."""
    found: list[str] = []

    def anything() -> bool:
        found.extend(look())
        return bool(found)

    eventually(anything, f"expected: {first}")
    (message,) = found
    assert message.startswith(first)
    assert look() == [], "it is told once"
    return message


def test_lag_unread_partitions_and_a_stalled_worker_are_told_once_each_and_so_are_their_ends(
    supervised: SupervisedRun, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised.stalls_after(10)
    run = supervised.start("steady")
    supervised.await_starts(1)
    eventually(lambda: supervised.checks("keeps_up"), supervised.log_tail)
    assert look() == [], "a worker that is well"

    lingers(monkeypatch, 120)
    (stuck, _) = supervised.worker_starts()[-1]
    os.kill(stuck, signal.SIGSTOP)
    message = said(look, "Problem: check stream/worker stays_alive is red")
    assert "stalled and was killed" in message
    assert "Something broke" in message
    supervised.await_starts(2)
    assert not alive(stuck)
    eventually(lambda: supervised.checks("stays_alive")[-1].passed, supervised.log_tail)
    lingers(monkeypatch, 0)
    said(look, "Over: check stream/worker stays_alive is red")

    supervised.measures(lag=20_000)
    assert "20,000 messages wait" in said(look, "Problem: check stream/worker keeps_up is red")
    supervised.measures(lag=30_000, partitions_unread=2)
    message = said(look, "Problem: check stream/worker reads_every_partition is red")
    assert "2 partitions exist and are not read" in message
    assert "keeps_up" not in message, "who was told that lag grows is not told that it still does"
    supervised.measures()
    eventually(
        lambda: supervised.checks("keeps_up")[-1].passed and supervised.checks("reads_every_partition")[-1].passed
    )
    said(look, "Over: check stream/worker keeps_up is red, and 1 more")

    pause(supervised.home, by="the test")
    assert run.wait(timeout=180) == 0
    assert look() == [], "a planned stop"
