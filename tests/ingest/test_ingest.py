"""Ingest: what is published is accepted, what is refused is reported, a picture keeps its own vectors."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.cli import cli
from neardup_platform.errors import BadArtefact
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.embedded_pictures import EmbeddedPicture
from neardup_platform.images.pdq_hash import pdq_hash
from neardup_platform.ingest.arrivals import Arrival, Ingested, KnownImage, arrival
from neardup_platform.ingest.kafka_outcomes import Follower, Outcomes
from neardup_platform.ingest.kafka_pictures import ingest_pictures
from neardup_platform.ingest.kafka_vectors import ingest_vectors
from neardup_platform.ingest.picture_batches import embed_to_file
from neardup_platform.records import Kind, PdqHash
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.active_models import active_models
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import DECISIONS, EMBEDDINGS
from tests.faults.world import FULL, LIGHT, supervised
from tests.stream.corrections.test_corrections_worker import api
from tests.stream.worker_process import PATIENCE_S, read_topic, reading

PICTURES = Path(__file__).parents[2] / "samples" / "pictures"
MODELS = active_models(Settings())


class ColourEmbedder:
    """Vectors that depend only on the mean colour of a picture."""

    enough_px = 8
    blocks = ()

    def __init__(self, kind: Kind) -> None:
        self.kind, self.model_version, self.dim = kind.value, MODELS[kind].version, MODELS[kind].dim

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        colours = [picture.reshape(-1, 3).mean(axis=0).astype(np.int64) for picture in pictures]
        rows = [np.random.default_rng(colour).standard_normal(self.dim) for colour in colours]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


EMBEDDERS = [ColourEmbedder(kind) for kind in Kind]
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def picture(path: Path | bytes, colour: tuple[int, int, int]) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 -- a name that is no UTF-8 is bytes
        Image.new("RGB", (64, 48), colour).save(file, "PNG")


@contextmanager
def platform(settings: Settings, worker: str = LIGHT) -> Iterator[tuple[Settings, httpx.Client]]:
    """A worker and the API over its store, and settings for both."""
    with supervised(settings, worker), api(settings) as client:
        port = httpx.URL(str(client.base_url)).port
        yield settings.model_copy(update={"api": settings.api.model_copy(update={"port": port})}), client


def known(client: httpx.Client, image_id: str) -> KnownImage | None:
    answer = client.get(f"/v1/images/{image_id}")
    return (
        None if answer.status_code == 404 else KnownImage(answer.json()["source_uri"], answer.json()["event_time_ms"])
    )


def outcomes(follower: Follower, ingested: Ingested, client: httpx.Client) -> Outcomes:
    def time_ms(image_id: str) -> int | None:
        there = known(client, image_id)
        return None if there is None else there.event_time_ms

    status = lambda: client.get("/v1/status").json()  # noqa: E731
    return follower.outcomes(ingested.images, ingested.places, status, time_ms, PATIENCE_S, lambda _: None)


@pytest.mark.slow
def test_a_picture_under_a_known_id_is_repeated_refused_or_replaced_and_never_shown_with_other_vectors(
    empty_log: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = ("Screenshot 9.41.00\u202fAM.png", "\U0001f468\u200d\U0001f469.png", "می\u200cخواهم.png", "plain.png")
    for name in names:
        picture(folder / name, RED)
    # No duplicate of the others, which it might head: a head that is replaced leaves its members by one more decision.
    picture(folder / "plain.png", GREEN)
    picture(os.fsencode(folder) + b"/bad\xff.png", RED)
    with platform(empty_log, FULL) as (settings, client):

        def ingest(**more: bool) -> tuple[Ingested, Outcomes]:
            follower = Follower(settings.kafka)
            ask = lambda image_id: known(client, image_id)  # noqa: E731
            done = ingest_pictures([str(folder)], EMBEDDERS, settings, MODELS, lambda _: None, lookup=ask, **more)
            return done, outcomes(follower, done, client)

        def shown() -> bytes:
            return client.get("/v1/images/plain.png/picture").content

        first, became = ingest()
        assert set(first.images) == set(names)
        assert (became.decided, became.repeated, became.dead) == (4, 0, {})
        with reading(settings) as store:
            record = store.images.find("plain.png")
            assert record is not None
            assert PdqHash(record.pdq, record.pdq_quality) == pdq_hash(np.full((48, 64, 3), GREEN, np.uint8))
        assert [refused.place.encode("utf-8", "surrogateescape")[-8:] for refused in first.refused] == [b"bad\xff.png"]
        assert "cannot be an id" in first.refused[0].reason
        green = shown()
        again, _ = ingest()
        assert (again.images, again.repeated, len(again.refused)) == ({}, 4, 1)

        picture(folder / "plain.png", BLUE)
        other, _ = ingest()
        assert (other.images, other.repeated) == ({}, 3)
        assert (
            "`neardup ingest --replace` replaces it" in other.refused[1 - other.refused.index(first.refused[0])].reason
        )
        # A producer that looks up nothing: the worker refuses, and the picture shown still belongs to the vectors.
        follower = Follower(settings.kafka)
        blind = ingest_pictures([str(folder / "plain.png")], EMBEDDERS, settings, MODELS, lambda _: None)
        refused = outcomes(follower, blind, client)
        assert refused.decided == 0
        assert {dead.reason for dead in refused.dead.values()} == {"conflicting"}
        assert len(refused.dead) == 2
        assert shown() == green

        replaced, became = ingest(replaces=True)
        assert (set(replaced.images), became.decided, became.repeated, became.dead) == ({"plain.png"}, 1, 0, {})
        assert shown() != green
        history = client.get("/v1/images/plain.png/history").json()["decisions"]
        assert [decision["cause"] for decision in history] == ["", "replaced"]
        assert client.get("/v1/images/plain.png").json()["source_uri"].encode() in _uris(settings)
        again, _ = ingest(replaces=True)
        assert (again.images, again.repeated) == ({}, 4)
        assert_kinds_are_named(settings, client, tmp_path)


def assert_kinds_are_named(settings: Settings, client: httpx.Client, place: Path) -> None:
    """A real picture, smaller and cropped: image, members, explanation, topic and counters say which is which."""
    folder = place / "kinds"
    folder.mkdir()
    with Image.open(PICTURES / "ajanta-caves.jpg") as original:
        original.save(folder / "bridge.jpg", quality=95)
        original.resize((original.width // 2, original.height // 2)).save(folder / "smaller.jpg")
        original.crop((40, 30, original.width, original.height - 25)).save(folder / "z-crop.jpg")
    for name in ("bridge.jpg", "smaller.jpg", "z-crop.jpg"):
        follower = Follower(settings.kafka)
        path = str(folder / name)
        done = ingest_pictures([path], load_embedders(settings.images), settings, MODELS, lambda _: None)
        assert outcomes(follower, done, client).decided == 1
    images = {name: client.get(f"/v1/images/{name}").json() for name in ("bridge.jpg", "smaller.jpg", "z-crop.jpg")}
    assert {image["head"] for image in images.values()} == {"bridge.jpg"}
    assert [image["kind"] for image in images.values()] == ["", "same", "altered-copy"]
    members = client.get("/v1/clusters/bridge.jpg/members").json()["members"]
    assert [member["kind"] for member in members] == ["", "same", "altered-copy"]
    why = client.get("/v1/images/z-crop.jpg/explanation").json()
    assert why["kind"] == "altered-copy"
    assert {candidate["kind"] for candidate in why["candidates"] if candidate["match"]} == {"altered-copy"}
    assert "its best match there, an altered copy, scores" in why["summary"]

    def published() -> dict[str, str]:
        decisions = (pb.Decision.FromString(value) for value in read_topic(settings, DECISIONS))
        return {each.image_id: each.kind for each in decisions if each.image_id in images}

    eventually(lambda: published() == {name: image["kind"] for name, image in images.items()}, published)
    with reading(settings) as store:
        counted = store.state().counters
        assert (counted["joined_same"], counted["joined_altered_copy"]) == (1, 1)


def _uris(settings: Settings) -> set[bytes]:
    bucket = settings.s3.bucket
    found = open_s3(settings.s3).list_objects_v2(Bucket=bucket, Prefix="pictures/")["Contents"]
    return {f"s3://{bucket}/{item['Key']}".encode() for item in found}


def vectors(count: int, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    matrices = {kind.value: rng.standard_normal((count, MODELS[kind].dim)).astype(np.float32) for kind in Kind}
    return {
        "image_id": [f"v{n}" for n in range(count)],
        **{kind: pa.array(list(matrix), pa.list_(pa.float32())) for kind, matrix in matrices.items()},
        **{f"{kind}_version": [MODELS[kind].version] * count for kind in Kind},
    }


def parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    pq.write_table(pa.table(dict(columns)), path)
    return path


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), env=environment(settings), standalone_mode=False)


@pytest.mark.slow
def test_wait_reports_what_the_worker_refuses_with_reasons_and_status_1(empty_log: Settings, tmp_path: Path) -> None:
    with platform(empty_log) as (settings, _):
        file = parquet(tmp_path / "a.parquet", vectors(5))
        first = run(settings, "ingest", "--embeddings", str(file), "--wait", "--json")
        answer = json.loads(first.stdout)
        assert (first.return_value, answer["decided"], answer["dead_letters"]) == (0, 5, [])
        again = json.loads(run(settings, "ingest", "--embeddings", str(file), "--wait", "--json").stdout)
        assert (again["decided"], again["repeated"], again["dead_letters"]) == (5, 5, [])

        changed = vectors(5)
        changed["pair"] = vectors(5, 2)["pair"]
        changed["image_id"][4] = "new"
        other = parquet(tmp_path / "b.parquet", changed)
        refused = run(settings, "ingest", "--embeddings", str(other), "--wait", "--json")
        answer = json.loads(refused.stdout)
        assert refused.return_value == 1
        assert (answer["published"], answer["decided"]) == (5, 1)
        assert {(d["image_id"], d["reason"]) for d in answer["dead_letters"]} == {
            (f"v{n}", "conflicting") for n in range(4)
        }
        assert "--replace" in answer["dead_letters"][0]["detail"]

        replaced = json.loads(
            run(settings, "ingest", "--embeddings", str(other), "--replace", "--wait", "--json").stdout
        )
        assert (replaced["decided"], replaced["repeated"], replaced["dead_letters"]) == (5, 0, [])


def test_vectors_of_a_version_that_is_not_active_are_refused_before_publishing(
    empty_log: Settings, tmp_path: Path
) -> None:
    columns = vectors(10)
    unnamed = {name: values for name, values in columns.items() if not name.endswith("_version")}
    with pytest.raises(BadArtefact, match=rf"lacks the columns .*accepts lsh_version '{MODELS[Kind.LSH].version}'"):
        ingest_vectors(parquet(tmp_path / "a.parquet", unnamed), empty_log, MODELS, lambda _: None)
    columns["lsh_version"] = ["user"] * 10
    done = ingest_vectors(parquet(tmp_path / "b.parquet", columns), empty_log, MODELS, lambda _: None)
    assert (done.images, len(done.refused)) == ({}, 10)
    assert done.refused[3].place.endswith("b.parquet row 3")
    assert f"'user', the active classifier takes '{MODELS[Kind.LSH].version}'" in done.refused[3].reason
    assert [read_topic(empty_log, topic) for topic in EMBEDDINGS.values()] == [[], []]


def test_ingest_accepts_what_embed_writes(empty_log: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("a.png", RED), ("b.png", GREEN), ("b\nc.png", BLUE)):
        picture(folder / name, colour)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out.parquet"
    written = embed_to_file([str(folder)], EMBEDDERS, empty_log, out, lambda _: None)
    assert sorted(written.images) == ["a.png", "b.png"]
    assert len(written.refused) == 2
    done = ingest_vectors(out, empty_log, MODELS, lambda _: None)
    assert (done.images, done.refused) == (written.images, [])
    assert sum(len(read_topic(empty_log, topic)) for topic in EMBEDDINGS.values()) == 4


def test_an_id_from_two_folders_is_used_once_and_another_picture_with_it_is_refused(
    empty_log: Settings, tmp_path: Path
) -> None:
    for folder, colour in (("one", RED), ("two", RED), ("three", BLUE)):
        (tmp_path / folder).mkdir()
        picture(tmp_path / folder / "x.png", colour)
    paths = [str(tmp_path / folder) for folder in ("one", "two", "three")]
    done = embed_to_file(paths, EMBEDDERS, empty_log, tmp_path / "out.parquet", lambda _: None)
    assert (list(done.images), done.repeated) == (["x.png"], 1)
    assert f"{tmp_path}/one/x.png has the id 'x.png' too" in done.refused[0].reason


def test_the_action_for_a_picture_depends_on_what_is_stored_under_its_id() -> None:
    models = {kind: (f"{kind}1", np.zeros(1, np.float32)) for kind in Kind}
    same = EmbeddedPicture("x", "/x", "a" * 64, models, b"")
    other = replace(same, content="b" * 64)
    newer = replace(same, vectors={**models, Kind.LSH: ("lsh2", np.zeros(1, np.float32))})

    def stored(by: EmbeddedPicture) -> KnownImage:
        return KnownImage(f"s3://bucket/{by.preview_key}", 1)

    def arriving(new: EmbeddedPicture, there: KnownImage | None) -> Arrival:
        return arrival(new, f"s3://bucket/{new.preview_key}", there)

    assert arriving(same, None) is Arrival.PUBLISH
    assert arriving(same, stored(same)) is Arrival.REPEATED
    assert arriving(other, stored(same)) is Arrival.CONFLICTING
    assert arriving(newer, stored(same)) is Arrival.PUBLISH
    assert arriving(same, KnownImage("", 1)) is Arrival.PUBLISH
    assert arriving(same, KnownImage("s3://bucket/pictures/0123.jpg", 1)) is Arrival.PUBLISH
    assert len({same.preview_key, other.preview_key, newer.preview_key}) == 3
