"""Control commands: from the models of their arguments, which senders fill in and the worker checks."""

import inspect
from collections.abc import Iterator

from neardup_platform.wire.command_arguments import CommandArguments
from scripts.reference.markdown import code, one_line, page, table


def control_page() -> str:
    """Every command with its arguments."""
    models = sorted(_models(CommandArguments), key=lambda model: inspect.getdoc(model) or "")
    return page(
        "Control commands",
        "`name` and `arguments` of a `Command` on `neardup.control`. [How commands behave](../control-commands.md).",
        table(("command", "arguments", "does"), [(code(_name(m)), _arguments(m), _does(m)) for m in models]),
        "## Arguments",
        table(("command", "argument", "meaning"), [row for model in models for row in _described(model)]),
    )


def _models(base: type[CommandArguments]) -> Iterator[type[CommandArguments]]:
    """The models that are not bases of others."""
    for model in base.__subclasses__():
        if model.__subclasses__():
            yield from _models(model)
        else:
            yield model


def _name(model: type[CommandArguments]) -> str:
    action = model.model_fields.get("action")
    return f"{model.command} action={action.default}" if action else model.command


def _does(model: type[CommandArguments]) -> str:
    return one_line(inspect.getdoc(model) or "").partition(": ")[2]


def _arguments(model: type[CommandArguments]) -> str:
    return ", ".join(
        code(name) if field.is_required() else f"[{code(name)}]"
        for name, field in model.model_fields.items()
        if name != "action"
    )


def _described(model: type[CommandArguments]) -> list[tuple[str, str, str]]:
    return [
        (code(_name(model)), code(name), one_line(field.description or ""))
        for name, field in model.model_fields.items()
        if field.description
    ]
