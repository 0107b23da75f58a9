"""Tokens: generated once, stored as digests, private, revoked at once."""

import json
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from neardup_platform.errors import Conflict, NotFound, PermanentError, SetupError
from neardup_platform.serving.tokens import Scope, TokenFile, Tokens, digest_of, holder, is_loopback, setting_token


def test_a_token_is_stored_as_its_digest_in_a_private_file(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "home")
    text = file.create("ops", [Scope.CORRECT, Scope.READ])
    assert len(text) > 40
    assert text not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    (token,) = file.read()
    assert (token.name, token.scopes, token.digest) == ("ops", (Scope.READ, Scope.CORRECT), digest_of(text))
    assert [path.name for path in file.path.parent.iterdir()] == ["tokens.json"]


def test_a_token_allows_its_scopes_and_admin_allows_all(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    texts = {scope: file.create(scope, [scope]) for scope in Scope}
    for scope, text in texts.items():
        found = holder(file.read(), text)
        assert found is not None
        assert {asked for asked in Scope if found.allows(asked)} == (
            {scope} if scope is not Scope.ADMIN else set(Scope)
        )


@pytest.mark.parametrize("text", ["", " ", "x", "neardup_", "\0"])
def test_short_and_empty_texts_are_not_tokens(tmp_path: Path, text: str) -> None:
    TokenFile(tmp_path).create("a", [Scope.ADMIN])
    assert holder(TokenFile(tmp_path).read(), text) is None
    assert holder((), text) is None


def test_a_running_server_sees_new_and_revoked_tokens_at_once(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path, setting_token("api.token", SecretStr("of-the-setting-itself")))
    assert [token.name for token in tokens.all()] == ["api.token"]
    text = TokenFile(tmp_path).create("ops", [Scope.READ])
    found = holder(tokens.all(), text)
    assert found is not None
    assert found.name == "ops"
    TokenFile(tmp_path).revoke("ops")
    assert holder(tokens.all(), text) is None


def test_names_are_unique_and_plain(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    file.create("ops", [Scope.READ])
    with pytest.raises(Conflict, match="token revoke ops"):
        file.create("ops", [Scope.ADMIN])
    for name in ("", " ops", "a\nb", "\x1b[31m", "x" * 65):
        with pytest.raises(PermanentError, match="printable"):
            file.create(name, [Scope.READ])
    with pytest.raises(PermanentError, match="at least one scope"):
        file.create("none", [])
    with pytest.raises(NotFound, match="token list"):
        file.revoke("nobody")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"tokens": [{}]}',
        json.dumps({"tokens": [{"name": "a", "scopes": ["all"], "digest": "00" * 32, "created_ms": 0}]}),
        json.dumps({"tokens": [{"name": "a", "scopes": ["read"], "digest": "", "created_ms": 0}]}),
    ],
)
def test_a_damaged_file_refuses_every_token_with_the_reason(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(SetupError, match=r"tokens\.json cannot be used"):
        Tokens(tmp_path).all()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"])
def test_loopback_is_recognised_in_every_spelling(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "127.0.0.1.evil.example", "localhost.evil", "", "127.1"],  # noqa: S104
)
def test_reachable_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)
