"""Claims about looking up many images in one call."""

import httpx
import pytest

from neardup_platform.serving.tokens import Scope, TokenFile
from neardup_platform.settings import ApiSettings, Settings
from tests.serving.conftest import Writer, seen, serving, wait_for
from tests.serving.test_problems import problem_of

PATH = "/v1/images:lookup"


def test_known_images_have_heads_and_the_others_are_listed(client: httpx.Client, writer: Writer) -> None:
    writer.decide(["cat~1", "cat~2", "dog~1"])
    seen(client, "dog~1")
    answer = client.post(PATH, json={"ids": ["cat~2", "nobody", "dog~1", "cat~2", "no one"]})
    assert answer.status_code == 200
    assert answer.json() == {"heads": {"cat~2": "cat~1", "dog~1": "dog~1"}, "unknown": ["nobody", "no one"]}


def test_a_thousand_of_the_longest_ids_are_accepted(client: httpx.Client) -> None:
    ids = [f"{n:04d}".ljust(512, "x") for n in range(1_000)]
    assert client.post(PATH, json={"ids": ids}).json() == {"heads": {}, "unknown": ids}


@pytest.mark.parametrize(
    "body",
    [
        {"ids": []},
        {"ids": ["x"] * 1_001},
        {"ids": [""]},
        {"ids": ["x" * 513]},
        {"ids": ["ä" * 300]},
        {"ids": [7]},
        {"ids": "cat"},
        {},
        {"ids": ["cat"], "other": 1},
    ],
)
def test_malformed_lists_of_ids_are_refused(client: httpx.Client, body: dict[str, object]) -> None:
    problem_of(client.post(PATH, json=body), 400)


def test_a_body_beyond_a_thousand_ids_is_refused_unread(client: httpx.Client) -> None:
    problem_of(client.post(PATH, content=b" " * (2 << 20), headers={"Content-Type": "application/json"}), 413)


def test_beyond_loopback_the_call_needs_a_token_that_may_read(settings: Settings, writer: Writer) -> None:
    guarded = settings.model_copy(update={"api": ApiSettings(refresh_ms=20, names=("neardup.example",))})
    tokens = TokenFile(settings.home)
    reader, corrector = tokens.create("reader", [Scope.READ]), tokens.create("corrector", [Scope.CORRECT])
    writer.decide(["cat~1"])
    with serving(guarded) as client:
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)

        def ask(token: str | None) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return client.post(PATH, json={"ids": ["cat~1"]}, headers=headers)

        problem_of(ask(None), 401)
        problem_of(ask(corrector), 403)
        assert ask(reader).json()["heads"] == {"cat~1": "cat~1"}
