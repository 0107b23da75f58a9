"""Claims about the API while the store it reads is replaced: every answer comes from the new store."""

from contextlib import closing

import httpx

from neardup_platform.settings import Settings
from neardup_platform.store.swap import complete_swap, copy_store, decide_swap, next_path
from neardup_platform.store.writer import Store
from neardup_platform.stream.corrections.carry_over import carry_over, name_restored
from neardup_platform.testing import eventually
from tests.serving.conftest import Writer, seen, serving, vectors_of, wait_for
from tests.serving.test_listing import wait_until_listed


def searched(client: httpx.Client, image_id: str) -> dict:
    lsh, pair = vectors_of(image_id)
    return client.post("/v1/search", json={"lsh": lsh.tolist(), "pair": pair.tolist()}).json()


def until_searched(client: httpx.Client, images: int) -> None:
    eventually(lambda: searched(client, "any").get("images_searched") == images)


def test_after_a_restore_lookups_and_searches_use_the_restored_store(settings: Settings) -> None:
    first = Writer(settings)
    first.decide(["cat~1", "dog~1"])
    first.store.close()
    copy_store(settings.store_path, settings.home / "snapshot")
    second = Writer(settings)
    second.decide(["cat~2", "whale~1", "whale~2"])
    with serving(settings) as client:
        seen(client, "whale~2")
        until_searched(client, 5)
        wait_until_listed(client, "", ["whale~1", "cat~1"])
        copy_store(settings.home / "snapshot", next_path(settings.store_path))
        with closing(Store(next_path(settings.store_path))) as restored:
            name_restored(second.store.state(), restored)
            carry_over(second.store, restored, None)
        decide_swap(settings.store_path, "a test")
        second.store.close()
        assert complete_swap(settings.store_path)
        third = Writer(settings)
        with closing(third.store):
            wait_for(client, "/v1/images/whale~2", lambda answer: answer.status_code == 404)
            assert client.get("/v1/status").json()["images"] == 2
            until_searched(client, 2)
            wait_until_listed(client, "", [])
            third.decide(["owl~1", "cat~3"])
            seen(client, "cat~3")
            until_searched(client, 4)
            wait_until_listed(client, "", ["cat~1"])
            assert searched(client, "owl~2")["cluster"] == "owl~1"
            assert searched(client, "cat~4")["cluster"] == "cat~1"
            assert searched(client, "whale~3")["cluster"] is None
