"""HTTP endpoints: from the OpenAPI description that the API itself serves."""

import tempfile
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from neardup_platform.errors import SetupError
from neardup_platform.serving.app import build_app
from neardup_platform.serving.openapi import SCHEME
from neardup_platform.settings import Settings
from scripts.reference.markdown import code, one_line, page, table


def endpoints_page() -> str:
    """Every endpoint with its scope, parameters and answers."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in _openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    rows = [
        (code(f"{method} {path}"), _scope(operation), _summary(operation)) for method, path, operation in operations
    ]
    return page(
        "HTTP endpoints",
        "The API serves this description itself, at `/docs` and `/openapi.json`. [How to use it](../api.md).",
        table(("endpoint", "scope", "answers"), rows),
        *[_section(method, path, operation) for method, path, operation in operations],
    )


def _openapi() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        client = TestClient(build_app(Settings(home=Path(home)), _no_models), base_url="http://127.0.0.1")
        document: dict[str, Any] = client.get("/openapi.json").raise_for_status().json()
    return document


def _no_models() -> Any:
    raise SetupError("the description of the API needs no models")


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"## {code(f'{method} {path}')}", one_line(operation.get("description", ""))]
    parameters = [
        (code(parameter["name"]), parameter["in"], one_line(parameter.get("description", "")))
        for parameter in operation.get("parameters", [])
    ]
    if parameters:
        parts.append(table(("parameter", "in", "meaning"), parameters))
    statuses = sorted(status for status in operation["responses"] if status != "default")
    parts.append(f"Statuses: {', '.join(statuses)} ([what errors mean](../api.md#errors)).")
    return "\n\n".join(part for part in parts if part)


def _scope(operation: dict[str, Any]) -> str:
    scopes = [scope for need in operation["security"] for scope in need.get(SCHEME, [])]
    return ", ".join(code(scope) for scope in scopes) or "none"


def _summary(operation: dict[str, Any]) -> str:
    return one_line(operation.get("description") or operation["summary"]).split(". ")[0]
