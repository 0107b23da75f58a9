"""Claims about the token that commands send to the API."""

import subprocess

from neardup_platform.serving.tokens import Scope, TokenFile
from neardup_platform.settings import ApiSettings, Settings
from tests.cli.test_token_commands import run
from tests.serving.conftest import Writer, serving, wait_for

TOKEN = "a-token-of-the-operator"  # noqa: S105 -- of this test


def test_commands_send_the_token_that_the_api_requires(settings: Settings, writer: Writer) -> None:
    # As a proxy would show it, so that reading needs a token on loopback, too.
    guarded = settings.model_copy(update={"api": ApiSettings(refresh_ms=20, token=TOKEN, names=("neardup.example",))})
    reader = TokenFile(settings.home).create("reader", [Scope.READ])
    searcher = TokenFile(settings.home).create("searcher", [Scope.SEARCH])
    writer.decide(["cat~1"])
    with serving(guarded) as client:
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        where = {
            "NEARDUP_API_PORT": str(client.base_url.port),
            "NEARDUP_KAFKA_BOOTSTRAP": "127.0.0.1:9",
            "NEARDUP_S3_ENDPOINT": "http://127.0.0.1:9",
        }

        def lookup(**token: str) -> subprocess.CompletedProcess[str]:
            return run("lookup", "cat~1", home=settings.home, **where, **token)

        refused = lookup()
        assert refused.returncode == 1
        assert "NEARDUP_API_CLIENT_TOKEN" in refused.stderr
        assert lookup(NEARDUP_API_CLIENT_TOKEN=reader).returncode == 0
        assert lookup(NEARDUP_API_TOKEN=TOKEN).returncode == 0
        lacking = lookup(NEARDUP_API_CLIENT_TOKEN=searcher)
        assert lacking.returncode == 1
        assert "'searcher' allows search, this call needs read" in lacking.stderr
        said = run("status", home=settings.home, **where).stdout
        assert "needs a token" in said
