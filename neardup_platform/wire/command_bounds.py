"""Size limits on the fields of a command, shared by senders and the worker. Pure.

A command is written to the log, kept with its result and partly echoed, so every field has a maximum size. A refusal
names the field, its size and the limit, and never repeats the value.
"""

from neardup_platform.wire import neardup_pb2 as pb

MAX_COMMAND_ID_BYTES = 128
MAX_NAME_BYTES = 64
MAX_ISSUED_BY_BYTES = 1_024
MAX_ARGUMENTS = 100
MAX_ARGUMENT_NAME_BYTES = 64
# The longest needed: a reason of 500 characters, or an S3 key of 1,024 bytes.
MAX_ARGUMENT_BYTES = 4_096
# A list of images or hashes. Python's CSV reader allows no longer cell.
MAX_LIST_BYTES = 131_072
LISTS = ("image_ids", "hashes")


def oversized(command: pb.Command) -> str:
    """Return what is too large in a command, with its size and the limit; empty if everything fits."""
    if len(command.arguments) > MAX_ARGUMENTS:
        return f"it has {len(command.arguments)} arguments, at most {MAX_ARGUMENTS} are allowed"
    sizes = {
        "command_id": (len(command.command_id.encode()), MAX_COMMAND_ID_BYTES),
        "name": (len(command.name.encode()), MAX_NAME_BYTES),
        "issued_by": (len(command.issued_by.encode()), MAX_ISSUED_BY_BYTES),
    }
    for name, value in command.arguments.items():
        named = len(name.encode())
        if named > MAX_ARGUMENT_NAME_BYTES:
            sizes["the name of an argument"] = (named, MAX_ARGUMENT_NAME_BYTES)
        else:
            limit = MAX_LIST_BYTES if name in LISTS else MAX_ARGUMENT_BYTES
            sizes[f"the argument {name!r}"] = (len(value.encode()), limit)
    for field, (size, limit) in sizes.items():
        if size > limit:
            return f"{field} has {size} bytes, at most {limit} are allowed"
    return ""
