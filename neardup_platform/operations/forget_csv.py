"""Images to forget in a CSV file: the column `image_id`."""

from neardup_platform.operations.command_csv import CommandCsv
from neardup_platform.wire.command_arguments import ForgetArguments

MAX_ROWS = 100_000

FORGETS = CommandCsv("image", ("image_id",), (), MAX_ROWS, ForgetArguments.parse)
read_forgets, read_forgets_file = FORGETS.read, FORGETS.read_file
