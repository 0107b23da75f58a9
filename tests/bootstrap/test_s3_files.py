"""Files of a data set are read from S3 byte for byte, with a request for many small reads."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neardup_platform.bootstrap import s3_data_sets
from neardup_platform.bootstrap.data_set import DataFile
from neardup_platform.bootstrap.s3_data_sets import S3File, find_data_set, put_data_set, sources
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import Settings
from tests.bootstrap.data_files import row, write
from tests.bootstrap.what_is_read import what_is_read

BUCKET = "small-reads"


@pytest.fixture
def s3(servers: Settings) -> Any:
    own = servers.s3.model_copy(update={"bucket": BUCKET})
    ensure_bucket(open_s3(own), own)
    return open_s3(own)


@pytest.fixture
def requests(s3: Any) -> Iterator[list[str]]:
    """The ranges that were asked for."""
    asked: list[str] = []

    def count(request: Any, **_: Any) -> None:
        asked.append(bytes(request.headers.get("Range", b"")).decode())

    s3.meta.events.register("before-send.s3.GetObject", count)
    yield asked
    s3.meta.events.unregister("before-send.s3.GetObject", count)


def test_a_small_file_is_fetched_once_by_each_reader(s3: Any, requests: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        # 25 row groups.
        write(tmp_path / f"{name}.parquet", [row(f"{name}{number}") for number in range(100)])
    put_data_set(s3, BUCKET, "", "small", tmp_path)
    files = sources(s3, BUCKET, find_data_set(s3, BUCKET, "", "small"))
    requests.clear()
    assert len(what_is_read(files)) == 200
    # Rows, what is described, vectors to check, vectors to write.
    assert len(requests) == 4 * len(files)


def test_reads_at_any_place_and_of_any_size_give_the_content(
    s3: Any, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_data_sets, "_WHOLE_BYTES", 100)
    monkeypatch.setattr(s3_data_sets, "_AHEAD_BYTES", 64)
    rng = np.random.default_rng(1)
    content = rng.bytes(1_000)
    etag = s3.put_object(Bucket=BUCKET, Key="large", Body=content)["ETag"].strip('"')
    file, expected = S3File(s3, BUCKET, DataFile("large", len(content), etag)), io.BytesIO(content)
    assert [file.read(8) for _ in range(8)] == [content[at : at + 8] for at in range(0, 64, 8)]
    assert requests == ["bytes=0-63"]
    for _ in range(100):
        at, size = int(rng.integers(1_100)), int(rng.choice([0, 1, 8, 63, 64, 65, 300, 2_000]))
        assert (file.seek(at), file.read(size)) == (expected.seek(at), expected.read(size))
    assert file.seek(-8, io.SEEK_END) == len(content) - 8
    assert file.read() == content[-8:]
