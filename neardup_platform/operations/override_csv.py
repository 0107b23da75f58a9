"""Overrides in a CSV file: `action`, then the arguments of `override` by name.

action,image_id,other_id,reason
move,bridge--crop.jpg,bridge.jpg,the same photograph
forbid,bridge.jpg,tower.jpg,

The column `image_ids` of a `split` has one id a line, so the cell is quoted.
"""

from neardup_platform.operations.command_csv import CommandCsv
from neardup_platform.wire.command_arguments import OverrideArguments

COLUMNS = ("action", "image_id", "other_id", "image_ids", "override_id", "reason")
# The worker remembers the results of 10,000 commands, and a repeat of a file must find its own.
MAX_ROWS = 5_000

OVERRIDES = CommandCsv("override", COLUMNS[:1], COLUMNS[1:], MAX_ROWS, OverrideArguments.parse)
read_overrides, read_override_file = OVERRIDES.read, OVERRIDES.read_file
