"""The command line: a section for each command, from its help."""

from collections.abc import Iterator

import click

from neardup_platform.cli import cli
from scripts.reference.markdown import code, one_line, page, table


def commands_page() -> str:
    """Every command with its usage, example, arguments and options."""
    commands = list(_commands(cli, ("neardup",)))
    index = table(
        ("command", "does"), [(f"[`{' '.join(path)}`](#{'-'.join(path)})", _short(c)) for path, c in commands]
    )
    return page(
        "Commands",
        "Every command has `--help` and `--json`. Errors are one line on stderr that says what to do. Exit status: 1, "
        "2 for wrong usage, and 130 when interrupted.",
        index,
        *[_section(path, command) for path, command in commands],
    )


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    # A group that does something without a subcommand.
    if command.invoke_without_command:
        yield path, command
    for name in sorted(command.commands):
        yield from _commands(command.commands[name], (*path, name))


def _section(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(path))
    parts = [
        f"## {' '.join(path)}",
        "\n\n".join(one_line(paragraph) for paragraph in (command.help or "").replace("\b\n", "").split("\n\n")),
        f"```text\n{' '.join([' '.join(path), *command.collect_usage_pieces(context)])}\n```",
        one_line(command.epilog or "").replace("Example: ", "Example: `", 1) + ("`" if command.epilog else ""),
    ]
    rows = [_option(option, context) for option in command.params if isinstance(option, click.Option)]
    return "\n\n".join([part for part in parts if part] + ([table(("option", "meaning"), rows)] if rows else []))


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    return (code(record[0]), record[1]) if record else (code(", ".join(option.opts)), option.help or "")


def _short(command: click.Command) -> str:
    return one_line((command.help or "").split("\n\n")[0])
