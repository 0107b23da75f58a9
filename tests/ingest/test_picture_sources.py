"""The walk of a folder is complete and never leaves it; other files than pictures are skipped and counted."""

import os
import socket
from pathlib import Path

import boto3
import pytest

from neardup_platform.errors import BadPicture, NotAPicture, NotFound
from neardup_platform.images.embedded_pictures import Refused
from neardup_platform.ingest.picture_sources import find_pictures
from neardup_platform.ingest.skipped_files import MOST_KINDS, Skipped, in_words
from neardup_platform.settings import Settings

JPEG = b"\xff\xd8\xff\xe0" + b"j" * 300


def found(*paths: Path | str, settings: Settings | None = None) -> dict[str, bytes | str]:
    """The result of reading each file: its bytes, or the reason of the failure."""
    results: dict[str, bytes | str] = {}
    for source in find_pictures([str(path) for path in paths], settings or Settings()):
        try:
            results[source.image_id] = source.read()
        except (NotAPicture, BadPicture, OSError) as error:
            results[source.image_id] = str(error)
    return results


def test_pictures_are_recognised_by_content_whatever_their_name(tmp_path: Path) -> None:
    names = ("IMG_0042", "a.jpg", "b.JFIF", "c.txt", "sub/d.heic", "sub/x.jpg/e")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    (tmp_path / "notes.txt").write_text("no picture")
    assert found(tmp_path) == {**dict.fromkeys(names, JPEG), "notes.txt": ".txt"}


def test_pipes_sockets_and_devices_are_skipped_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
    (tmp_path / "null.jpg").symlink_to("/dev/null")
    assert found(tmp_path) == {"pipe.jpg": "named pipe", "socket.jpg": "socket", "null.jpg": "link out of the folder"}
    assert "named pipe" in str(found(tmp_path / "pipe.jpg")["pipe.jpg"])
    assert "device" in str(found("/dev/zero")["zero"])


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (source,) = find_pictures([str(tmp_path)], Settings())
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(BadPicture, match="named pipe"):
        source.read()


def test_links_out_of_the_folder_are_skipped_and_cycles_end(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.jpg").write_bytes(JPEG)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.jpg").write_bytes(JPEG)
    (folder / "same.jpg").symlink_to("inner/a.jpg")
    (folder / "out.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "inner" / "up").symlink_to("..")
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "round.jpg").symlink_to("round.jpg")
    assert found(folder) == {
        "inner/a.jpg": JPEG,
        "same.jpg": JPEG,
        "out.jpg": "link out of the folder",
        "out": "link out of the folder",
        "inner/up": "link to a folder",
        "gone.jpg": "broken link",
        "round.jpg": "broken link",
    }


def test_a_link_given_by_name_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "b.jpg").symlink_to("real/a.jpg")
    assert found(tmp_path / "folder", tmp_path / "b.jpg") == {"a.jpg": JPEG, "b.jpg": JPEG}


def test_an_unreadable_folder_is_reported_and_the_rest_continues(tmp_path: Path) -> None:
    """The path is longer than the system allows, because permissions do not stop root."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    (tmp_path / "a.jpg").write_bytes(JPEG)
    results = found(tmp_path)
    assert results.pop("a.jpg") == JPEG
    assert list(results.values()) == ["unreadable folder"]


def test_a_file_given_by_name_must_be_a_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert found(tmp_path / "notes.txt") == {"notes.txt": b"hello"}


def test_a_file_above_the_limit_is_read_no_further(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG * 100)
    settings = Settings(images={"max_bytes": 2_000})
    assert len(found(tmp_path, settings=settings)["a.jpg"]) == 2_001


def test_objects_are_recognised_by_content_too(servers: Settings) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=servers.s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id=servers.s3.access_key.get_secret_value(),
        aws_secret_access_key=servers.s3.secret_key.get_secret_value(),
    )
    s3.create_bucket(Bucket="external")
    for key, content in {"in/IMG_1": JPEG, "in/a.txt": b"hello" * 100_000, "in/b.jpg": b"", "in/folder/": b""}.items():
        s3.put_object(Bucket="external", Key=key, Body=content)
    assert found("s3://external/in/", settings=servers) == {"IMG_1": JPEG, "a.txt": ".txt", "b.jpg": b""}
    with pytest.raises(NotFound, match="no objects"):
        found("s3://external/out/", settings=servers)


def test_kinds_are_counted_and_their_number_is_bounded() -> None:
    skipped = Skipped()
    skipped.count(Refused(f"f{n}.x{n % 40}", f".x{n % 40}") for n in range(400))
    skipped.count([Refused("evil\x1b[31m.x0", ".x0")])
    listed = skipped.as_json()
    assert len(listed) == MOST_KINDS + 1
    assert sum(int(each["files"]) for each in listed) == 401
    assert listed[0] == {"kind": "of other kinds", "files": 280, "example": "f12.x12"}
    assert in_words([{"kind": ".txt", "files": 2, "example": "a\x1b.txt"}]) == (
        "2 files skipped: 2 .txt ('a\\x1b.txt')"
    )
    assert in_words([]) == ""
