"""Which files beside each other are the Parquet files of a data set, by their paths alone. Pure.

part-0.parquet, day=1/part-0.parquet          data
_temporary/…, .part-0.parquet.crc             hidden, as for Spark and Hive
part-0.PARQUET, part-1.parquet._COPYING_      neither: somebody means it to be data, or it is not complete yet
_delta_log/…                                  a table whose log says which of the files count
"""

from collections.abc import Iterable

_SUFFIX = ".parquet"
_OTHER_SUFFIXES = (".parq", ".pq")
_SIDECARS = (".crc", ".md5", ".sha1", ".sha256")
_TABLES = {"_delta_log": "Delta", ".hoodie": "Hudi", "_spark_metadata": "Spark streaming"}
_ICEBERG = ".metadata.json"


def is_data(path: str) -> bool:
    """Whether a path, relative to the folder of the data set, is that of a file of it."""
    return path.endswith(_SUFFIX) and not _is_hidden(path)


def data_paths(paths: Iterable[str]) -> list[str] | str:
    """The files of a data set among those of a folder, or why that cannot be said, with the next step."""
    paths = list(paths)
    for path in paths:
        first = path.split("/", 1)[0]
        table = _TABLES.get(first, "Iceberg" if path.endswith(_ICEBERG) else "")
        if table:
            return (
                f"{path[:200]} says that the folder is a table of {table}, whose files may hold rows that are deleted: "
                "write what the table holds now as plain Parquet files"
            )
        if _resembles_data(path):
            return f"the name of {path[:200]!r} does not end with {_SUFFIX}: rename it, or take it away"
    return [path for path in paths if is_data(path)]


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in path.split("/"))


def _resembles_data(path: str) -> bool:
    # Some tools keep an object for a folder, with a slash at the end.
    name = path.rsplit("/", 1)[-1].lower()
    named = _SUFFIX in name or name.endswith(_OTHER_SUFFIXES)
    return named and not is_data(path) and not _is_hidden(path) and not name.endswith(_SIDECARS)
