"""Settings: a table for each section, from the fields and the docstrings beneath them."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from neardup_platform.settings import CONFIG_FILE, Settings
from scripts.reference.markdown import code, one_line, page, table

_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def settings_page() -> str:
    """Every setting, its variable, default, bounds and meaning."""
    sections = [
        _section(name, field.annotation)
        for name, field in Settings.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    ]
    home = Settings.model_fields["home"]
    return page(
        "Settings",
        f"Settings come from `{CONFIG_FILE}` in the working directory, overridden by environment variables: "
        "[Configure it](../tasks/configure.md).",
        table(("setting", "variable", "default", "meaning"), [_row("", "home", home)]),
        *sections,
    )


def _section(name: str, model: Any) -> str:
    rows = [_row(name, setting, field) for setting, field in model.model_fields.items()]
    head = f"## `[{name}]`\n\n{one_line(model.__doc__ or '')}"
    return f"{head}\n\n{table(('setting', 'variable', 'default', 'meaning'), rows)}"


def _row(section: str, name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    variable = "_".join(part for part in ("NEARDUP", section, name) if part).upper()
    meaning = one_line(field.description or "")
    return code(name), code(variable), _default(field), f"{meaning} {_bounds(field)}".strip()


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return "unset" if value is None else "empty"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, int | float):
        return f"{value:,}"
    return code(str(value) if isinstance(value, str | Path) else repr(value))


def _bounds(field: FieldInfo) -> str:
    choices = next((get_args(kind) for kind in _kinds(field.annotation) if get_origin(kind) is Literal), ())
    if choices:
        return f"One of {', '.join(code(choice) for choice in choices)}."
    limits = [
        f"{sign} {limit:,}"
        for rule in field.metadata
        for name, sign in _SIGNS.items()
        if (limit := getattr(rule, name, None)) is not None
    ]
    return f"({', '.join(limits)})" if limits else ""


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))
