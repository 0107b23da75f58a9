"""Size limits on the fields of a command, shared by senders and the worker. Pure.

A command is written to the log, kept with its result and echoed in part, so no field may be of any size. What is
refused is named with its size and its bound, and never repeated.
"""

from neardup_platform.wire import neardup_pb2 as pb

MAX_COMMAND_ID_BYTES = 128
MAX_NAME_BYTES = 64
MAX_ISSUED_BY_BYTES = 1_024
MAX_ARGUMENTS = 100
MAX_ARGUMENT_NAME_BYTES = 64
# The longest that is needed: a reason of 500 characters, a key on S3 of 1,024 bytes.
MAX_ARGUMENT_BYTES = 4_096


def oversized(command: pb.Command) -> str:
    """What is too large in a command, with its size and its bound; empty where all of it fits."""
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
            sizes[f"the argument {name!r}"] = (len(value.encode()), MAX_ARGUMENT_BYTES)
    for field, (size, most) in sizes.items():
        if size > most:
            return f"{field} has {size} bytes, at most {most} are allowed"
    return ""
