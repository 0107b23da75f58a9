"""Pictures from a real S3 server, and everything that must not be fetched."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from pydantic import SecretStr

from neardup_platform.images.picture_kinds import media_type
from neardup_platform.quality_report.period import Period
from neardup_platform.quality_report.s3_reports import report_key
from neardup_platform.servers import ports, s3_server
from neardup_platform.serving.s3_pictures import MAX_PICTURE_BYTES, picture_key
from neardup_platform.settings import S3Settings, Settings
from neardup_platform.supervise.process import spawn, stop_group
from neardup_platform.testing import eventually
from tests.serving.conftest import Writer, seen, serving

JPEG = b"\xff\xd8\xff\xe0" + b"j" * 100
PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 100


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    home = tmp_path_factory.mktemp("s3")
    (home / "run").mkdir()
    settings = Settings(home=home)
    chosen = ports.choose(home, s3_server.PORTS)
    service = s3_server.s3_service(settings, chosen)
    service.prepare()
    process: subprocess.Popen[bytes] = spawn(service.argv, service.env, home / "s3.log", service.cwd)
    try:
        eventually(lambda: service.probe() is None, service.probe)
        access, secret = s3_server.credentials(home)
        yield S3Settings(
            endpoint=s3_server.endpoint(chosen), access_key=SecretStr(access), secret_key=SecretStr(secret)
        )
    finally:
        stop_group(process, 15)
        service.on_stopped()


def bucket_client(s3: S3Settings) -> Any:
    assert s3.access_key
    assert s3.secret_key
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key.get_secret_value(),
        aws_secret_access_key=s3.secret_key.get_secret_value(),
    )


@pytest.fixture
def stored(settings: Settings, s3: S3Settings, writer: Writer) -> Iterator[httpx.Client]:
    bucket = bucket_client(s3)
    bucket.put_object(Bucket="neardup", Key="pictures/a.jpg", Body=JPEG)
    bucket.put_object(Bucket="neardup", Key="pictures/b c/ü.png", Body=PNG)
    bucket.put_object(Bucket="neardup", Key="pictures/page.jpg", Body=b"<html><script>alert(1)</script>")
    bucket.put_object(Bucket="neardup", Key="pictures/huge.jpg", Body=JPEG + bytes(MAX_PICTURE_BYTES))
    bucket.put_object(Bucket="neardup", Key="secrets/key.jpg", Body=JPEG)
    with serving(settings.model_copy(update={"s3": s3})) as client:
        yield client


def show(client: httpx.Client, writer: Writer, uri: str) -> httpx.Response:
    writer.decide(["x"], {"x": uri})
    seen(client, "x")
    return client.get("/v1/images/x/picture")


@pytest.mark.parametrize(
    ("key", "body", "media_type"),
    [("pictures/a.jpg", JPEG, "image/jpeg"), ("pictures/b c/ü.png", PNG, "image/png")],
)
def test_a_picture_in_the_folder_of_pictures_is_shown(
    stored: httpx.Client, writer: Writer, key: str, body: bytes, media_type: str
) -> None:
    answer = show(stored, writer, f"s3://neardup/{key}")
    assert answer.status_code == 200
    assert answer.content == body
    assert answer.headers["content-type"] == media_type
    assert "max-age" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert stored.get("/v1/images/x").json()["picture"] == "/v1/images/x/picture"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://127.0.0.1:1/pictures/a.jpg",
        "s3://other/pictures/a.jpg",
        "s3://neardup/secrets/key.jpg",
        "s3://neardup/pictures/../secrets/key.jpg",
        "s3://neardup/pictures/./../secrets/key.jpg",
        "s3://neardup/pictures//a.jpg",
        "s3://neardup/pictures/..\\secrets\\key.jpg",
        "s3://neardup/pictures/",
        "S3://neardup/pictures/a.jpg",
        "s3://neardup/pictures/a\0.jpg",
        "s3://neardup/pictures/a\r\nX: y.jpg",
        "s3://neardup/pictures/" + "x" * 1_100,
        "s3://neardup@evil.example/pictures/a.jpg",
    ],
)
def test_nothing_outside_the_folder_of_pictures_is_served(stored: httpx.Client, writer: Writer, uri: str) -> None:
    answer = show(stored, writer, uri)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored.get("/v1/images/x").json()["picture"] is None


@pytest.mark.parametrize(
    ("key", "said"),
    [("page.jpg", "not a picture that browsers show"), ("huge.jpg", "too large"), ("gone.jpg", "no longer exists")],
)
def test_objects_that_are_not_pictures_too_large_or_missing_are_not_served(
    stored: httpx.Client, writer: Writer, key: str, said: str
) -> None:
    answer = show(stored, writer, f"s3://neardup/pictures/{key}")
    assert answer.status_code == 404
    assert said in answer.json()["detail"]


def test_a_report_is_shown_and_runs_nothing(stored: httpx.Client, s3: S3Settings) -> None:
    key = report_key(Period("week", datetime(2025, 11, 24, tzinfo=UTC)))
    bucket_client(s3).put_object(Bucket="neardup", Key=key, Body=b"<script>alert(1)</script>")
    answer = stored.get("/v1/reports/week/2025-W48")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    for path in (
        "week/2026-W47",
        "day/2026-11-26",
        "day/..%2f..%2fpictures%2fa.jpg",
        "week/2025-W60",
        "day/9999-01-01",
    ):
        assert stored.get(f"/v1/reports/{path}").status_code in (400, 404), path
    assert stored.get("/v1/reports/month/2025-11").status_code == 400


def test_without_s3_pictures_are_answered_503_and_other_calls_work(settings: Settings, writer: Writer) -> None:
    away = S3Settings(endpoint="http://127.0.0.1:9", access_key=SecretStr("a"), secret_key=SecretStr("b"))
    with serving(settings.model_copy(update={"s3": away})) as client:
        answer = show(client, writer, "s3://neardup/pictures/a.jpg")
        assert answer.status_code == 503
        assert "s3://neardup/pictures/a.jpg" in answer.json()["detail"]
        assert client.get("/v1/images/x").status_code == 200


def test_without_an_s3_endpoint_answers_have_no_pictures(client: httpx.Client, writer: Writer) -> None:
    assert show(client, writer, "s3://neardup/pictures/a.jpg").status_code == 404
    assert client.get("/v1/images/x").json()["picture"] is None


def test_keys_come_only_from_the_folder_of_pictures() -> None:
    assert picture_key("s3://b/pictures/x/y.jpg", "b") == "pictures/x/y.jpg"
    assert picture_key("s3://b/pictures/x.jpg", "bb") is None
    assert picture_key("s3://bb/pictures/x.jpg", "b") is None


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"GIF89a..", "image/gif"),
        (b"GIF87a..", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"\0\0\0\x18ftypheic", None),
        (b"<svg xmlns=", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_media_types_are_determined_by_content(start: bytes, expected: str | None) -> None:
    assert media_type(start) == expected


def test_the_sample_pictures_have_known_media_types() -> None:
    pictures = list((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))
    assert pictures
    assert {media_type(picture.read_bytes()) for picture in pictures} == {"image/jpeg"}
