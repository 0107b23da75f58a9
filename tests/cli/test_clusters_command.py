"""`neardup clusters`: what it asks for and prints, against a scripted server."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.cli.command_line import run
from tests.client.conftest import Reply, ScriptedServer

CLUSTERS = [
    {
        "head": "cat\x1b.jpg",
        "size": 1_234,
        "created_ms": 1_767_225_600_000,
        "updated_ms": 1_767_229_200_000,
        "members": [],
    },
    {"head": "dog.jpg", "size": 2, "created_ms": 0, "updated_ms": 0, "members": []},
]


def asked(home: Path, *arguments: str, clusters: list | None = None, cursor: str | None = None) -> tuple[str, str]:
    """What the command prints, and the query that it sends."""
    reply = Reply(body={"clusters": CLUSTERS if clusters is None else clusters, "next_cursor": cursor})
    with ScriptedServer([reply]) as server:
        port = server.url.rpartition(":")[2]
        servers = {"NEARDUP_KAFKA_BOOTSTRAP": "127.0.0.1:1", "NEARDUP_S3_ENDPOINT": "http://127.0.0.1:1"}
        keys = {"NEARDUP_S3_ACCESS_KEY": "a", "NEARDUP_S3_SECRET_KEY": "b"}
        done = run("clusters", *arguments, home=home, NEARDUP_API_PORT=port, **servers, **keys)
    assert done.returncode == 0, done.stderr
    (seen,) = server.seen
    return done.stdout, seen.path


def test_the_largest_clusters_are_listed_with_the_next_cursor(tmp_path: Path) -> None:
    text, path = asked(tmp_path, cursor="abc=")
    assert dict(parse_qsl(urlsplit(path).query)) == {"limit": "20", "sort": "size", "min_size": "2"}
    first, second, more = text.splitlines()
    assert first.split("  ")[-3:] == ["1,234 images", "changed 2026-01-01 01:00:00Z", r"cat\x1b.jpg"]
    assert second.endswith("dog.jpg")
    assert more.strip() == "more: --cursor abc="


def test_filters_are_sent_and_json_is_exact(tmp_path: Path) -> None:
    options = ("--sort", "recent", "--max-size", "9", "--since", "2026-01-01", "--bank", "memes", "--not-quarantined")
    text, path = asked(tmp_path, *options, "--cursor", "abc=", "--json")
    assert dict(parse_qsl(urlsplit(path).query)) == {
        "limit": "20",
        "sort": "recent",
        "min_size": "2",
        "max_size": "9",
        "changed_since": "1767225600000",
        "bank": "memes",
        "quarantined": "false",
        "cursor": "abc=",
    }
    assert json.loads(text) == {"clusters": CLUSTERS, "next_cursor": None}


def test_no_cluster_is_said_in_words(tmp_path: Path) -> None:
    text, _ = asked(tmp_path, "--min-size", "1000", clusters=[])
    assert text == "no cluster has two or more images and passes these filters\n"


@pytest.mark.parametrize("options", [("--min-size", "1"), ("--sort", "name"), ("--since", "soon"), ("--limit", "1001")])
def test_wrong_options_are_wrong_usage(options: tuple[str, str], tmp_path: Path) -> None:
    assert run("clusters", *options, home=tmp_path).returncode == 2
