"""Claims about `import neardup_platform`: what it offers, and what it does not load."""

import subprocess
import sys

import pytest

import neardup_platform
from neardup_platform import errors

HEAVY = ("tensorflow", "kafka", "rocksdict", "numpy", "httpx", "pydantic", "dagster", "fastapi", "PIL")


def loaded_by(code: str) -> set[str]:
    script = f"import sys; {code}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(eval(done.stdout))  # noqa: S307 -- a list of names, printed above


def test_importing_the_package_loads_nothing_else() -> None:
    assert loaded_by("import neardup_platform") == set()


@pytest.mark.parametrize("name", ["Client", "AsyncClient", "NotFound", "Settings"])
def test_the_client_loads_no_tensorflow_kafka_or_rocksdb(name: str) -> None:
    assert not loaded_by(f"from neardup_platform import {name}") & {"tensorflow", "kafka", "rocksdict", "numpy"}


def test_the_deduplicator_loads_no_kafka_or_rocksdb_and_no_tensorflow_before_it_is_made() -> None:
    found = loaded_by("from neardup_platform import Deduplicator, Decision")
    assert not found & {"tensorflow", "kafka", "rocksdict", "fastapi", "dagster"}


def test_every_public_name_can_be_imported_and_listed() -> None:
    for name in neardup_platform.__all__:
        assert getattr(neardup_platform, name).__name__ == name
        assert name in dir(neardup_platform)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        neardup_platform.Nothing  # noqa: B018


def test_every_error_that_callers_may_meet_is_public() -> None:
    tree = {name for name, found in vars(errors).items() if isinstance(found, type)}
    internal = {"NotAPicture", "HomeInUse"}
    assert tree - internal <= set(neardup_platform.__all__)
