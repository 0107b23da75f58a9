"""Whether the objects of a data set are complete: what its manifest or its success marker says. Pure.

A data set is complete when one of these is in its folder:

| object | content |
|---|---|
| `manifest.json` | `{"files": [{"name": "part-0.parquet", "size": 1234}, …]}`: the files, with sizes in bytes |
| `_SUCCESS` | anything: all Parquet files of the folder, as Spark and others leave it |

With both, the manifest counts. `ingest/parquet_files.py` says which files are hidden, and which make a folder
ambiguous.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neardup_platform.bootstrap.data_set import DataFile, DataSet
from neardup_platform.counted import counted
from neardup_platform.ingest.parquet_files import data_paths
from neardup_platform.wire.command_arguments import DATA_SET_PATTERN

MANIFEST, SUCCESS = "manifest.json", "_SUCCESS"
MAX_MANIFEST_BYTES = 16 << 20
MAX_FILES = 10_000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A folder that is not loaded.

    Attributes:
        why: with the next step.
    """

    name: str
    why: str


def by_data_set(objects: Iterable[DataFile], prefix: str) -> dict[str, list[DataFile]]:
    """The objects of each data set, by its name: the part of the key after the prefix."""
    found: dict[str, list[DataFile]] = {}
    for each in objects:
        name, slash, _ = each.key.removeprefix(prefix).partition("/")
        if slash and name:
            found.setdefault(name, []).append(each)
    return found


def bad_name(name: str) -> str:
    """Why a folder's name is none of a data set; empty if it is one."""
    if re.fullmatch(DATA_SET_PATTERN, name):
        return ""
    return "its name has other characters than A-Z a-z 0-9 . _ -, or over 100: rename the folder"


def data_set_of(name: str, folder: str, objects: Sequence[DataFile], manifest: bytes | None) -> DataSet | Incomplete:
    """The data set that the objects of a folder make, or why they make none.

    Args:
        folder: the start of all keys, with a slash at its end.
        manifest: the content of `manifest.json`; None where there is none.
    """
    if why := bad_name(name):
        return Incomplete(name, why)
    files = {each.key.removeprefix(folder): each for each in objects}
    chosen = _marked(files) if manifest is None else _listed(files, manifest)
    if isinstance(chosen, str):
        return Incomplete(name, chosen)
    if not 1 <= len(chosen) <= MAX_FILES:
        step = "write larger files" if chosen else "write some, or delete the folder"
        return Incomplete(name, f"it has {len(chosen):,} Parquet files, 1 to {MAX_FILES:,} are allowed: {step}")
    return DataSet(name, tuple(sorted(chosen, key=lambda each: each.key)), held=_is_held(manifest))


def incomplete_in_words(incomplete: Sequence[Incomplete], most: int = 5) -> str:
    """The first of them, on one line; empty where there are none."""
    if not incomplete:
        return ""
    shown = "; ".join(f"{each.name[:100]!r}: {each.why}" for each in incomplete[:most])
    more = f"; and {len(incomplete) - most} more" if len(incomplete) > most else ""
    return f"{counted(len(incomplete), 'incomplete data set')}: {shown}{more}"


def _marked(files: Mapping[str, DataFile]) -> list[DataFile] | str:
    """The files of a folder without manifest, or why it is incomplete."""
    if SUCCESS not in files:
        return f"it has neither {MANIFEST} nor {SUCCESS} yet"
    paths = data_paths(files)
    return f"{paths}, or write a {MANIFEST}" if isinstance(paths, str) else [files[path] for path in paths]


def _listed(files: Mapping[str, DataFile], manifest: bytes) -> list[DataFile] | str:
    """The files that a manifest names, or why they are incomplete."""
    sizes = _sizes(manifest)
    if isinstance(sizes, str):
        return f"{MANIFEST} {sizes}"
    wrong = [_difference(path, size, files.get(path)) for path, size in sizes.items()]
    if differences := [text for text in wrong if text]:
        more = len(differences) - _NAMED
        return ", ".join(differences[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return [files[path] for path in sizes]


def _is_held(manifest: bytes | None) -> bool:
    return manifest is not None and json.loads(manifest).get("hold") is True


def _sizes(manifest: bytes) -> dict[str, int] | str:
    """The size of each file by its name, or what is wrong with the manifest."""
    expected = 'is not {"files": [{"name": text, "size": bytes}, …]}'
    try:
        named = [(each["name"], each["size"]) for each in json.loads(manifest)["files"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return expected
    if not all(isinstance(name, str) and type(size) is int for name, size in named):
        return expected
    if len({name for name, _ in named}) < len(named):
        return "names a file twice"
    if other := next((name for name, _ in named if not name.endswith(".parquet")), None):
        return f"names {other[:100]!r}, which is no .parquet file"
    return dict(named)


def _difference(path: str, size: int, found: DataFile | None) -> str:
    if found is None:
        return f"{path[:200]} is not there"
    return "" if found.size == size else f"{path[:200]} has {found.size} bytes, {MANIFEST} says {size}"
