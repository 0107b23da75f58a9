"""Java, Maven and the jar cache: what is missing is reported in one line that says what to do."""

from pathlib import Path

import pytest

from neardup_platform.errors import SetupError
from neardup_platform.servers.kafka_jars import ensure_jars, find_java, jar_folder, java_major, kafka_version


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH except what the test puts into the returned folder."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("printed", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_401"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("command not found", 0),
    ],
)
def test_the_java_version_is_read(printed: str, major: int) -> None:
    assert java_major(printed) == major


def test_missing_java_says_what_to_install_or_set(bare: Path) -> None:
    with pytest.raises(SetupError, match=r"apt-get install openjdk-17.* or set NEARDUP_KAFKA_BOOTSTRAP"):
        find_java()


def test_an_old_java_is_named_with_its_version(bare: Path) -> None:
    program(bare, "java", """echo 'openjdk version "11.0.2"' >&2""")
    with pytest.raises(SetupError, match=r"bin/java is Java 11, Apache Kafka .* needs 17 or newer"):
        find_java()


def test_missing_maven_says_what_to_install_or_set(bare: Path) -> None:
    with pytest.raises(SetupError, match=r"mvn.*apt-get install .*maven; or set NEARDUP_KAFKA_BOOTSTRAP"):
        ensure_jars()


def test_a_failing_maven_leaves_no_cache_behind(bare: Path) -> None:
    program(bare, "mvn", "echo '[ERROR] no route to host'; exit 1")
    with pytest.raises(SetupError, match="no route to host") as error:
        ensure_jars()
    assert "\n" not in str(error.value)
    assert list(jar_folder().parent.iterdir()) == []


def test_jars_are_copied_once_and_again_when_one_is_damaged(bare: Path) -> None:
    jar = f"kafka_2.13-{kafka_version()}.jar"
    program(bare, "mvn", f'for last; do :; done; echo run >> {bare}/runs; echo jar > "${{last#*=}}/{jar}"')
    folder = ensure_jars()
    assert (folder / jar).read_text() == "jar\n"
    assert ensure_jars() == folder
    assert (bare / "runs").read_text().count("run") == 1
    (folder / jar).write_text("")
    ensure_jars()
    assert (folder / jar).read_text() == "jar\n"
    assert (bare / "runs").read_text().count("run") == 2


def test_an_unwritable_cache_is_reported(bare: Path, tmp_path: Path) -> None:
    program(bare, "mvn", "exit 0")
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(SetupError, match="XDG_CACHE_HOME"):
        ensure_jars()
