"""The Python API: the names of `neardup_platform`, their methods and docstrings."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import neardup_platform
from neardup_platform.settings import Settings
from scripts.reference.markdown import code, one_line, page, table


def python_page() -> str:
    """Every public name but the errors and the settings, which have their own pages."""
    classes = [
        found
        for name in sorted(neardup_platform.__all__)
        if not issubclass(found := getattr(neardup_platform, name), Exception | Settings)
    ]
    return page(
        "Python",
        "`from neardup_platform import …`. [How to use it](../python.md); [the errors](errors.md); "
        "[the settings](settings.md).",
        *[_section(found) for found in classes],
    )


def _section(found: type) -> str:
    summary = one_line((inspect.getdoc(found) or "").split("\n\n")[0])
    rows = [(code(f"{name}{signature}"), text) for name, signature, text in _members(found)]
    return f"## {found.__name__}\n\n{summary}\n\n{table(('name', 'does'), rows)}"


def _members(found: type) -> Iterator[tuple[str, str, str]]:
    """Public methods, properties and fields that the class itself defines."""
    described = _attributes(inspect.getdoc(found) or "")
    for name, member in vars(found).items():
        if name.startswith("_"):
            continue
        function = inspect.unwrap(getattr(member, "__func__", member))
        if isinstance(member, property):
            yield name, "", _summary(member)
        elif inspect.isfunction(function):
            yield name, _signature(function), _summary(function)
    for name in getattr(found, "__dataclass_fields__", {}):
        yield name, "", described.get(name, "")


def _signature(function: Any) -> str:
    """As it is written in the source, without `self`."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise TypeError(f"{function} is not a function")
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({arguments}){returns}".replace("answers.", "")


def _summary(function: Any) -> str:
    return one_line((inspect.getdoc(function) or "").split("\n\n")[0])


def _attributes(docstring: str) -> dict[str, str]:
    """The `Attributes:` of a docstring."""
    section = re.search(r"^Attributes:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    fields = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section.group(1), re.MULTILINE) if section else []
    return {name: one_line(text) for name, text in fields}
