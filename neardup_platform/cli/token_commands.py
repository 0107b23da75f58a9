"""`neardup token`: tokens of the HTTP API, stored in the home of the server that accepts them."""

from datetime import UTC, datetime
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option
from neardup_platform.serving.tokens import Scope, TokenFile
from neardup_platform.settings import Settings


@click.group()
def token() -> None:
    """Create, list and revoke tokens of the HTTP API."""


@token.command(epilog="Example:  neardup token create dashboard --scope read --scope search")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it allows; may be repeated. admin includes the others, and forgetting.",
)
@json_option
def create(name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Create a token and print it once: only its digest is stored. Running servers accept it at once."""
    wanted = [scope for scope in Scope if scope in scopes]
    text = TokenFile(Settings().home).create(name, wanted)
    emit({"name": name, "scopes": wanted, "token": text}, as_json, lambda answer: str(answer["token"]))


@token.command("list", epilog="Example:  neardup token list --json")
@json_option
def list_tokens(as_json: bool) -> None:
    """List names, scopes and creation times; the tokens themselves are not stored."""
    tokens = [
        {"name": known.name, "scopes": list(known.scopes), "created_ms": known.created_ms}
        for known in TokenFile(Settings().home).read()
    ]
    emit({"tokens": tokens}, as_json, _describe)


@token.command(epilog="Example:  neardup token revoke dashboard")
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """Revoke a token. Running servers refuse it at once."""
    file = TokenFile(Settings().home)
    file.revoke(name)
    emit({"revoked": name, "left": len(file.read())}, as_json, _describe_revoked)


def _describe(answer: dict[str, Any]) -> str:
    if not answer["tokens"]:
        return "no tokens: `neardup token create NAME --scope read` creates one"
    return "\n".join(
        f"{datetime.fromtimestamp(known['created_ms'] / 1_000, UTC):%Y-%m-%d %H:%M}Z  {known['name']}  "
        f"{', '.join(known['scopes'])}"
        for known in answer["tokens"]
    )


def _describe_revoked(answer: dict[str, Any]) -> str:
    if answer["left"]:
        return f"revoked {answer['revoked']}"
    return f"revoked {answer['revoked']}, the last one: on loopback changes need no token now, unless api.token is set"
