"""The jars of Apache Kafka and the Java to run them, or an error in one line that says what to install.

Maven resolves `kafka_files/pom.xml` once per user, not once per checkout, into a cache folder that appears complete or
not at all and is verified against its own list before each use.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

from neardup_platform.errors import SetupError
from neardup_platform.files import publish_once, read_json, write_json

POM = Path(__file__).parent / "kafka_files" / "pom.xml"
MIN_JAVA = 17
_LIST = "jars.json"
_OWN_CLUSTER = "or set NEARDUP_KAFKA_BOOTSTRAP to your own Kafka cluster"
_INSTALL = "on Debian or Ubuntu: apt-get install openjdk-17-jre-headless maven"


def kafka_version() -> str:
    """The version of Apache Kafka that `kafka_files/pom.xml` pins."""
    found = ElementTree.parse(POM).find(".//{*}kafka.version")  # noqa: S314 -- our own file
    return str(found.text) if found is not None else "unknown"


def jar_folder() -> Path:
    """The user's folder for the jars, named by the content of the pom: in `$XDG_CACHE_HOME` or `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    content = sha256(POM.read_bytes()).hexdigest()[:8]
    return Path(root).expanduser() / "neardup" / f"kafka-{kafka_version()}-{content}"


def ensure_jars(timeout_s: float = 600.0) -> Path:
    """Have Maven copy the jars into the cache, unless it already has all of them.

    Returns:
        The folder that contains them.

    Raises:
        SetupError: Maven is missing or fails, or the cache is not writable.
    """
    folder = jar_folder()
    if _is_complete(folder):
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"Maven (mvn) is missing; it downloads Apache Kafka: {_INSTALL}; {_OWN_CLUSTER}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    except OSError as error:
        raise SetupError(
            f"cannot write the jar cache {folder.parent}: {error.strerror}: "
            "set XDG_CACHE_HOME to a folder you can write"
        ) from error
    try:
        _copy_jars(maven, staged, timeout_s)
        write_json(staged / _LIST, {jar.name: jar.stat().st_size for jar in staged.glob("*.jar")})
        publish_once(staged, folder, _is_complete)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def find_java() -> str:
    """The `java` to run Kafka with: from `JAVA_HOME`, otherwise from PATH.

    Raises:
        SetupError: there is none, or it is older than Java 17.
    """
    home = os.environ.get("JAVA_HOME", "")
    in_home = Path(home) / "bin" / "java"
    java = str(in_home) if home and in_home.exists() else shutil.which("java")
    if java is None:
        raise SetupError(f"Java is missing; Apache Kafka needs it: {_INSTALL}; {_OWN_CLUSTER}")
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = java_major(answer.stderr)
    if version < MIN_JAVA:
        raise SetupError(
            f"{java} is Java {version or 'of unknown version'}, Apache Kafka {kafka_version()} needs "
            f"{MIN_JAVA} or newer: {_INSTALL}; {_OWN_CLUSTER}"
        )
    return java


def java_major(printed: str) -> int:
    """The major version in the output of `java -version`; `1.8` is 8; 0 if there is none."""
    found = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(found.group(1)) if found else 0


def _copy_jars(maven: str, target: Path, timeout_s: float) -> None:
    command = [
        maven,
        "-B",
        "-q",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={target}",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise SetupError(
            f"Maven did not download Apache Kafka {kafka_version()} within {timeout_s:.0f} s: "
            f"check the network and try again; {_OWN_CLUSTER}"
        ) from error
    if answer.returncode != 0 or not any(target.glob("kafka_2.13-*.jar")):
        reason = next((line for line in answer.stdout.splitlines() if "ERROR" in line), "no jar was copied")
        raise SetupError(
            f"Maven could not download Apache Kafka {kafka_version()}: {reason[:300]}: "
            f"check the network and Maven's settings.xml; {_OWN_CLUSTER}"
        )


def _is_complete(folder: Path) -> bool:
    sizes = read_json(folder / _LIST)
    jars = {name: folder / name for name in sizes}
    return bool(sizes) and all(jar.exists() and jar.stat().st_size == sizes[name] for name, jar in jars.items())


def main() -> int:
    """Download the jars before the first start; `make setup` calls this."""
    try:
        ensure_jars()
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
