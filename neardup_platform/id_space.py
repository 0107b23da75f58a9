"""The number spaces of the platform and how much of each is left: no number is ever assigned twice.

| number | limit | assigned to |
|---|---|---|
| ordinal | 2^32 | each image, and again if it gets a newer embedding or must become searchable again |
| sequence | 2^63 | each decision |
| outbox number | 2^63 | each published message |
| command number | 2^63 | each handled command |

An ordinal has 32 bits in the segments of the term index and in the keys of a search; the others have 64 bits
everywhere, of which clients may use the positive half.

Only ordinals can run out: `neardup reprocess` renumbers the images from 0, without gaps.
"""

from neardup_platform.errors import SetupError

MAX_ORDINALS = 1 << 32
_MAX_NUMBER = 1 << 63


def check_ordinals(end: int) -> None:
    """Refuse to assign ordinals that the formats of index and search keys cannot represent.

    Args:
        end: the ordinal after the last one to assign.

    Raises:
        SetupError: it is beyond `MAX_ORDINALS`.
    """
    if end > MAX_ORDINALS:
        raise SetupError(
            f"{end} ordinals are needed, at most {MAX_ORDINALS} exist: `neardup reprocess` renumbers the images "
            "without the gaps left by newer embeddings and forgotten images"
        )


def id_space(*, ordinals: int, sequence: int, outbox_number: int, commands: int) -> dict[str, float]:
    """Gauges: assigned numbers and limits by kind, and the smallest share that is left of any kind."""
    given = {"ordinals": ordinals, "sequence": sequence, "outbox_number": outbox_number, "command_number": commands}
    limits = {name: MAX_ORDINALS if name == "ordinals" else _MAX_NUMBER for name in given}
    return {
        **{name: float(count) for name, count in given.items()},
        **{f"{name}_limit": float(limit) for name, limit in limits.items()},
        "id_space_left_ratio": min(1 - count / limits[name] for name, count in given.items()),
    }
