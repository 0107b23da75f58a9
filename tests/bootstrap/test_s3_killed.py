"""An S3 server that is killed during a load: the load ends, at the latest when it is repeated, with the same digest."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from neardup_platform.errors import ServerUnavailable
from neardup_platform.operations.kafka_bootstrap import Bootstrap, Bootstrapped
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.testing import eventually
from tests.bootstrap.loaded_data_sets import CORPUS, START_MS, counted, image, load, put, row, state
from tests.conftest import emptied
from tests.faults.world import LIGHT, listener
from tests.stream.loading.test_load_worker import builder
from tests.stream.worker_process import start

pytestmark = pytest.mark.slow

HEAD, *MEMBERS = [image(number, START_MS) for number in range(200, 206)]
HEADED = [row(each, head=HEAD.image_id) for each in (HEAD, *MEMBERS)]
EXPECTED = {"loaded": len(HEADED), "decided": len(CORPUS)}
# How long one run waits for the worker, and how long the process that builds is waited for.
RUN_S, BUILDS_S = 120, 200
# How long it is tried in all: a run that S3 leaves begins again.
LOADED_S = 600
# What a run says before it reads the rows, before the worker builds files from them, and before it reads a segment.
MOMENTS = ("checking", "sending load", "sending ingest-segment")


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[Settings]:
    """An S3 server that is started again when it dies."""
    with running_servers(Settings(home=tmp_path / "own"), kafka=False) as settings:
        ensure_bucket(open_s3(settings.s3), settings.s3)
        yield settings


def test_s3_is_killed_at_each_step_and_the_digest_is_that_of_an_undisturbed_load(
    servers: Settings, own_s3: Settings, tmp_path: Path
) -> None:
    undisturbed = emptied(servers, tmp_path / "undisturbed")
    put(undisturbed, "undisturbed", tmp_path, [*map(row, CORPUS)])
    worker = start(undisturbed, module=LIGHT)
    try:
        load(undisturbed, "undisturbed")
        decided = state(undisturbed)
    finally:
        worker.kill()
        worker.wait()
    kept = sum(layout.assignment_digest(each.image_id, HEAD.image_id) for each in (HEAD, *MEMBERS))
    expected = (int.from_bytes(decided.digest, "little") + kept) % (1 << 128)

    settings = emptied(servers, tmp_path / "disturbed").model_copy(
        update={"s3": own_s3.s3, "bootstrap": servers.bootstrap.model_copy(update={"timeout_s": RUN_S})}
    )
    put(settings, "disturbed", tmp_path, [*map(row, CORPUS)], HEADED)
    worker = start(settings, module=LIGHT)
    try:
        killed, result = disturbed_load(settings, worker.pid)
        assert killed == [*MOMENTS[:2], "building", MOMENTS[2]]
        assert counted(result) == EXPECTED
        assert int.from_bytes(state(settings).digest, "little") == expected
        assert counted(load(settings, "disturbed")) == EXPECTED
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()


def disturbed_load(settings: Settings, worker: int) -> tuple[Sequence[str], Bootstrapped]:
    """Load and kill S3 at each moment, once; repeat while S3 does not answer."""
    killed: list[str] = []

    def kill(moment: str) -> None:
        killed.append(moment)
        listener((settings.s3.endpoint or "").removeprefix("http://")).kill()

    def kill_while_it_builds() -> None:
        eventually(lambda: builder(worker))
        kill("building")

    builds = threading.Thread(target=kill_while_it_builds, daemon=True)

    def said(line: str) -> None:
        for moment in MOMENTS:
            if line.startswith(moment) and moment not in killed:
                kill(moment)
                if moment == "sending load":
                    builds.start()

    deadline = time.monotonic() + LOADED_S
    while time.monotonic() < deadline:
        eventually(lambda: answers(settings))
        try:
            result = Bootstrap(settings, "disturbed", None, "a test", said).run()
        except ServerUnavailable:
            continue
        builds.join(BUILDS_S)
        assert not builds.is_alive(), f"no process that builds was seen; S3 was killed at {killed}"
        return killed, result
    raise AssertionError(f"not loaded: S3 was killed at {killed}")


def answers(settings: Settings) -> bool:
    try:
        ensure_bucket(open_s3(settings.s3), settings.s3)
    except ServerUnavailable:
        return False
    return True
