"""Control commands: from the models of their arguments, which senders fill in and the worker checks."""

import inspect
from collections.abc import Iterator

from neardup_platform.wire.command_arguments import COMMANDS, CommandArguments, OverrideArguments
from scripts.reference.markdown import code, one_line, page, table


def control_page() -> str:
    """Every command with its arguments."""
    models = sorted(_models(), key=lambda model: inspect.getdoc(model) or "")
    return page(
        "Control commands",
        "`name` and `arguments` of a `Command` on `neardup.control`. [How commands behave](../control-commands.md).",
        table(("command", "arguments", "does"), [(code(_name(m)), _arguments(m), _does(m)) for m in models]),
        "## Arguments",
        table(("command", "argument", "meaning"), [row for model in models for row in _described(model)]),
    )


def _models() -> Iterator[type[CommandArguments]]:
    """The models of the worker's commands, and of each action of `override`. A test may define others."""
    for model in COMMANDS.values():
        yield from _leaves(model)


def _leaves(model: type[CommandArguments]) -> Iterator[type[CommandArguments]]:
    if not model.__subclasses__():
        yield model
    for each in model.__subclasses__():
        yield from _leaves(each)


def _name(model: type[CommandArguments]) -> str:
    if issubclass(model, OverrideArguments):
        return f"{model.command} action={model.model_fields['action'].default}"
    return model.command


def _does(model: type[CommandArguments]) -> str:
    return one_line(inspect.getdoc(model) or "").partition(": ")[2]


def _arguments(model: type[CommandArguments]) -> str:
    return ", ".join(
        code(name) if field.is_required() else f"[{code(name)}]"
        for name, field in model.model_fields.items()
        if name != "action" or not issubclass(model, OverrideArguments)
    )


def _described(model: type[CommandArguments]) -> list[tuple[str, str, str]]:
    return [
        (code(_name(model)), code(name), one_line(field.description or ""))
        for name, field in model.model_fields.items()
        if field.description
    ]
