"""The codecs that producers may compress with, and whether this installation can decompress them.

Producers choose the codec, so all of Kafka's are dependencies. A missing one is a fault of the installation and never
counts as damage: no message is skipped because of it.
"""

from kafka import codec
from kafka.errors import UnsupportedCodecError

from neardup_platform.errors import SetupError

_PACKAGES = {"gzip": "Python's zlib", "snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}


def usable_codecs() -> list[str]:
    """Return the codecs that can be decompressed here."""
    found = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}
    return [name for name, is_there in found.items() if is_there()]


def check_codecs() -> str:
    """Return all codecs as text, for `neardup doctor`.

    Raises:
        SetupError: one of them cannot be decompressed here.
    """
    usable = usable_codecs()
    missing = [name for name in _PACKAGES if name not in usable]
    if missing:
        raise SetupError(
            f"batches compressed with {' or '.join(missing)} cannot be read: install "
            f"{' and '.join(_PACKAGES[name] for name in missing)} (`make setup` does)"
        )
    return f"none, {', '.join(usable)}"


def missing_codec(place: str, error: UnsupportedCodecError) -> SetupError:
    """Return the error for a batch in `place` whose codec the client has no library for."""
    name = next((name for name in _PACKAGES if f" {name} " in str(error)), None)
    if name is None:
        return SetupError(
            f"{place} has a batch that this Kafka client cannot decompress ({error}): upgrade kafka-python"
        )
    return SetupError(
        f"{place} has batches compressed with {name}, which needs {_PACKAGES[name]}: install it (`make setup` does) "
        "and start again; nothing is skipped meanwhile"
    )
