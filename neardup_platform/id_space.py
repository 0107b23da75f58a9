"""How many numbers of each kind there are, and how many are left: none is ever given twice.

| number | limit | given to |
|---|---|---|
| ordinal | 2^32 | each image, and again where it gets a newer embedding or has to be searchable again |
| sequence | 2^63 | each decision |
| outbox number | 2^63 | each message published |
| command number | 2^63 | each command handled |

An ordinal has 32 bits in the segments of the term index and in the keys of a search, the others 64 everywhere, of which
clients may use the positive half.

Ordinals are the only ones that can run out: `neardup reprocess` numbers the images again from 0, without the gaps.
"""

from neardup_platform.errors import SetupError

MAX_ORDINALS = 1 << 32
_MAX_NUMBER = 1 << 63


def check_ordinals(end: int) -> None:
    """Refuse to give ordinals that the formats of index and search keys cannot hold.

    Args:
        end: the ordinal after the last one to be given.

    Raises:
        SetupError: it is beyond `MAX_ORDINALS`.
    """
    if end > MAX_ORDINALS:
        raise SetupError(
            f"{end} ordinals are needed, at most {MAX_ORDINALS} can be given: `neardup reprocess` numbers the images "
            "again without the gaps that newer embeddings and forgotten images left"
        )


def id_space(*, ordinals: int, sequence: int, outbox_number: int, commands: int) -> dict[str, float]:
    """Gauges: how many numbers were given and how many there are, by kind, and the least share that is left of one."""
    given = {"ordinals": ordinals, "sequence": sequence, "outbox_number": outbox_number, "command_number": commands}
    limits = {name: MAX_ORDINALS if name == "ordinals" else _MAX_NUMBER for name in given}
    return {
        **{name: float(count) for name, count in given.items()},
        **{f"{name}_limit": float(limit) for name, limit in limits.items()},
        "id_space_left_ratio": min(1 - count / limits[name] for name, count in given.items()),
    }
