"""The command line: thin commands over the engine, each with `--help`, an example and `--json`."""

from neardup_platform.cli.main import cli, main

__all__ = ["cli", "main"]
