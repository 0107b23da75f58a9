"""Claims about a power cut: what the kernel had not written to the disk is gone, what was published is not."""

from pathlib import Path

import pytest

from neardup_platform.settings import Settings
from neardup_platform.stream.crash_points import CrashPoint
from tests.faults.power_cut import NOTED, cut_power
from tests.faults.traffic import Sent, traffic
from tests.faults.verification import wrong_when_settled
from tests.faults.world import check_moment, check_settled, crash, home_of, read_log, settle, small_steps
from tests.stream.worker_process import reading

pytestmark = pytest.mark.slow

WAVE = 40
PLACES = [f"{CrashPoint.ACKNOWLEDGED}:1", f"{CrashPoint.COMMITTED}:4", f"{CrashPoint.SYNCED}:2"]


def cut_at(settings: Settings, place: str, noted: Path) -> int:
    """Run a worker that dies there in a power cut; returns how many bytes the disk lost."""
    noted.unlink(missing_ok=True)
    crash(settings, place)
    return cut_power(settings.store_path, noted)


def durable(settings: Settings, durability: str) -> Settings:
    return settings.model_copy(update={"worker": settings.worker.model_copy(update={"durability": durability})})


def test_after_power_cuts_no_published_decision_contradicts_the_store(
    own_log: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, noted = home_of(own_log, tmp_path / "home"), tmp_path / "synced.json"
    monkeypatch.setenv(NOTED, str(noted))
    lost = []
    with traffic(settings) as sender:
        for number, place in enumerate(PLACES):
            sender.disordered(range(WAVE * number, WAVE * (number + 1)), number, repeat_ratio=0.1)
            lost.append(cut_at(settings, place, noted))
            check_moment(settings)
        settle(settings)
        check_settled(settings, sender.sent)
    assert any(lost)


def test_decisions_published_before_a_sync_contradict_the_store_after_a_power_cut(
    empty_log: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with `worker.durability` = `process`: what the other test finds nothing of is there to be found."""
    settings, noted = durable(small_steps(empty_log), "process"), tmp_path / "synced.json"
    monkeypatch.setenv(NOTED, str(noted))
    with traffic(settings) as sender:
        sender.disordered(range(WAVE), 1)
        assert cut_at(settings, f"{CrashPoint.ACKNOWLEDGED}:1", noted) > 0
        settle(settings)
        assert found_wrong(settings, sender.sent)


def found_wrong(settings: Settings, sent: Sent) -> list[str]:
    log = read_log(settings)
    with reading(settings) as reader:
        return list(wrong_when_settled(reader, log, sent))
