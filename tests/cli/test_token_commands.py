"""Claims about `neardup token`, and about settings that hold a token."""

import json
import stat
from pathlib import Path

import pytest

from neardup_platform.serving.tokens import TokenFile, holder
from tests.cli.command_line import run


def test_a_token_is_printed_once_listed_by_name_and_revoked(tmp_path: Path) -> None:
    made = run("token", "create", "dash", "--scope", "search", "--scope", "read", "--json", home=tmp_path)
    answer = json.loads(made.stdout)
    assert (answer["name"], answer["scopes"]) == ("dash", ["read", "search"])
    assert holder(TokenFile(tmp_path).read(), answer["token"])
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
    listed = run("token", "list", home=tmp_path)
    assert "dash  read, search" in listed.stdout
    assert answer["token"] not in listed.stdout
    again = run("token", "create", "dash", "--scope", "admin", home=tmp_path)
    assert again.returncode == 1
    assert "token revoke dash" in again.stderr
    assert "the last one" in run("token", "revoke", "dash", home=tmp_path).stdout
    assert json.loads(run("token", "list", "--json", home=tmp_path).stdout) == {"tokens": []}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 -- refused, which is the claim
def test_up_beyond_loopback_without_a_token_starts_nothing(tmp_path: Path, host: str) -> None:
    done = run("up", "--detach", home=tmp_path, NEARDUP_API_HOST=host)
    assert done.returncode == 1
    assert "set api.token (NEARDUP_API_TOKEN)" in done.stderr
    assert host in done.stderr
    assert not (tmp_path / "kafka").exists()


@pytest.mark.parametrize("token", ["", "short"])
def test_an_empty_or_short_token_is_refused_without_being_shown(tmp_path: Path, token: str) -> None:
    done = run("status", home=tmp_path, NEARDUP_API_HOST="0.0.0.0", NEARDUP_API_TOKEN=token)  # noqa: S104
    assert done.returncode == 1
    assert "api.token" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "short" not in done.stderr
