"""The control topic: commands in order, each prepared, committed and answered once."""
