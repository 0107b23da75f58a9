"""The tree at the top of errors.py is the tree of classes: every error, under its base, and no other."""

import ast
from pathlib import Path

from neardup_platform import errors

PACKAGE = Path(errors.__file__).parent


def _drawn() -> dict[str, str]:
    """Each class in the drawing, and its base."""
    bases: dict[str, str] = {}
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip("│├└─ ").split(" ")[0]
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        if line.startswith("NeardupError") or "── " in line:
            stack[depth:] = [name]
            bases[name] = stack[depth - 1] if depth else "Exception"
    return bases


def _defined() -> dict[str, str]:
    """Each subclass of `NeardupError` in the source, and its first base."""
    bases = {
        node.name: ast.unparse(node.bases[0]).rpartition(".")[2]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ClassDef) and node.bases
    }

    def is_ours(name: str) -> bool:
        return name == "NeardupError" or (name in bases and is_ours(bases[name]))

    return {name: base for name, base in bases.items() if is_ours(name)}


def test_the_error_tree_lists_every_error_under_its_base() -> None:
    assert _drawn() == _defined()
