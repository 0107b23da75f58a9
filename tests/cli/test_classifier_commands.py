"""Claims about `neardup classifier`, with a real registry, a real worker and a real API."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from tests.cli.command_line import run
from tests.scoring.variants import variant
from tests.stream.worker_process import running

BETTER, WORSE = "ccccccccccc1", "ccccccccccc2"


def neardup(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*arguments, home=settings.home, **environment(settings))


def answer(settings: Settings, *arguments: str) -> dict:
    done = neardup(settings, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def api(settings: Settings) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "neardup_platform.serving"], env=environment(settings))
    try:
        eventually(lambda: "classifier_version" in neardup(settings, "status", "--json").stdout)
        yield
    finally:
        process.terminate()
        process.wait()


def test_a_malformed_version_is_a_usage_error(empty_log: Settings) -> None:
    done = neardup(empty_log, "classifier", "promote", "../x")
    assert done.returncode == 2
    assert "12 hex digits" in done.stderr


def test_without_a_worker_the_error_says_that_the_command_waits_in_the_topic(empty_log: Settings) -> None:
    done = neardup(empty_log, "classifier", "promote", BETTER, "--timeout", "1")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "waits in the topic" in line
    assert len(answer(empty_log, "classifier", "promote", BETTER, "--no-wait")["command_id"]) == 32


@pytest.mark.slow
def test_publish_promote_refuse_and_roll_back(empty_log: Settings, tmp_path: Path) -> None:
    settings = empty_log.model_copy(update={"api": empty_log.api.model_copy(update={"port": a_free_port()})})
    shipped = read_card(SHIPPED_FOLDER).version
    for version, recall in ((BETTER, None), (WORSE, 0.4)):
        variant(tmp_path / version, version, recall=recall)
        assert answer(settings, "classifier", "publish", str(tmp_path / version))["version"] == version
    with running(settings), api(settings):
        assert answer(settings, "classifier", "promote", BETTER)["replaced"] == shipped
        refused = neardup(settings, "classifier", "promote", WORSE)
        assert refused.returncode == 1
        (line,) = refused.stderr.strip().splitlines()
        assert "is worse than" in line
        assert "0.4000" in line
        assert neardup(settings, "classifier", "promote", WORSE, "--json").returncode == 1
        listed = answer(settings, "classifier", "list")
        assert listed["in_force"] == BETTER
        ours = {entry["version"]: entry for entry in listed["classifiers"]}
        assert (ours[BETTER]["in_force"], ours[WORSE]["in_force"]) == (True, False)
        assert ours[WORSE]["metrics"]["at_threshold"]["recall"] == 0.4
        assert answer(settings, "status")["classifier_version"] == BETTER
        assert answer(settings, "classifier", "promote", WORSE, "--force")["forced"] is True
        eventually(lambda: answer(settings, "classifier", "list")["promotions"][0]["version"] == WORSE)
        assert answer(settings, "classifier", "rollback")["version"] == BETTER
        eventually(lambda: answer(settings, "classifier", "list")["in_force"] == BETTER)
        shown = neardup(settings, "classifier", "list").stdout
        assert f"> {BETTER}" in shown
        assert f"{BETTER} → {WORSE} by" in shown
