"""The codecs that producers may compress with, and whether this installation can unpack them.

A producer chooses its codec freely, so all of Kafka's are dependencies. One that is missing all the same is a fault of
the installation, never damage: nothing is skipped for it.
"""

from kafka import codec
from kafka.errors import UnsupportedCodecError

from neardup_platform.errors import SetupError

_PACKAGES = {"gzip": "Python's zlib", "snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}


def usable_codecs() -> list[str]:
    """The codecs that can be unpacked here; uncompressed batches always can."""
    found = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}
    return [name for name, is_there in found.items() if is_there()]


def check_codecs() -> str:
    """All codecs, for `neardup doctor`.

    Raises:
        SetupError: one of them cannot be unpacked here.
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
    """What to raise for a batch in `place` that the client has no library for."""
    name = next((name for name in _PACKAGES if f" {name} " in str(error)), None)
    if name is None:
        return SetupError(f"{place} has a batch that this Kafka client cannot unpack ({error}): upgrade kafka-python")
    return SetupError(
        f"{place} has batches compressed with {name}, which needs {_PACKAGES[name]}: install it (`make setup` does) "
        "and start again; nothing is skipped meanwhile"
    )
