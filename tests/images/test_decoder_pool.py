"""Decoding in separate processes: the same pixels, within limits of time and memory that no file can evade."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neardup_platform.errors import BadPicture, SetupError, TooCostly
from neardup_platform.images.decode import Postponed, decode
from neardup_platform.images.decoding import pool as decoder_pool
from neardup_platform.images.decoding import process
from neardup_platform.images.decoding.cancellation import Cancellation, Cancelled
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.images.decoding.wire import ANSWER_BYTES, Answer, Request, Status
from neardup_platform.settings import ImageSettings
from neardup_platform.testing import eventually
from tests.images.bombs import gif_of_one_pixel, jpeg_of_scans, webp_of_one_colour

PICTURES = sorted((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))[:3]
HEIF = sorted((Path(__file__).parent / "heif").glob("*.heic"))
LONG_S = 90.0


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(ImageSettings(), processes=1) as started:
        yield started


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Some ten seconds of work in a file of a few hundred kilobytes."""
    data = jpeg_of_scans(100)
    assert len(data) < 700_000
    return data


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_pixels_equal_those_of_decoding_in_this_process(pool: DecoderPool) -> None:
    picture = Image.open(PICTURES[0]).convert("RGB").resize((300, 200))
    files = [path.read_bytes() for path in (*PICTURES, *HEIF)]
    files += [encoded(picture, name) for name in ("PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "MPO")]
    files.append(encoded(picture, "TIFF", compression="tiff_lzw"))
    for enough_px in (None, 224):
        for data in files:
            here = decode(data, max_pixels=10**8, max_bytes=10**8, enough_px=enough_px)
            assert np.array_equal(pool.decode(data, enough_px), here)
    assert len(pool.pids()) == 1


def test_a_refusal_has_its_reason_and_keeps_the_process(pool: DecoderPool) -> None:
    pids = pool.pids()
    for data in (b"", b"no picture", PICTURES[0].read_bytes()[:5_000]):
        with pytest.raises(BadPicture) as there:
            pool.decode(data, 224)
        with pytest.raises(BadPicture) as here:
            decode(data, max_pixels=10**8, max_bytes=10**8, enough_px=224)
        assert str(there.value) == str(here.value)
    assert pool.pids() == pids


def test_a_file_above_the_limit_is_not_even_sent() -> None:
    with DecoderPool(ImageSettings(max_bytes=2_000)) as small:
        with pytest.raises(BadPicture, match=r"images\.max_bytes = 2,000"):
            small.decode(bytes(2_001), None)
        assert small.pids() == []


@pytest.fixture
def whatever_else_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine gives a decoder little of a processor: only processor time ends it."""
    monkeypatch.setattr(decoder_pool, "_WALL_PER_CPU", 1_000.0)


@pytest.mark.usefixtures("whatever_else_runs")
def test_endless_work_is_ended_by_the_limit_of_processor_time(bomb: bytes) -> None:
    with DecoderPool(ImageSettings(decode_cpu_s=0.5), processes=1) as pool:
        pool.start()
        (first,) = pool.pids()
        with pytest.raises(TooCostly, match=r"images\.decode_cpu_s = 0\.5 seconds of processor time"):
            pool.decode(bomb, 224)
        assert gone(first)
        assert pool.decode(PICTURES[0].read_bytes(), 224).shape[2] == 3
        assert first not in pool.pids()
        assert pool.metrics() == {"decodes": 2, "decodes_killed": 1, "decodes_cancelled": 0}


def test_memory_is_bounded(pool: DecoderPool) -> None:
    """A WebP of 34 bytes that would take 2.5 GB is not decoded; anything unforeseen fails within the limit."""
    pids = pool.pids()
    with pytest.raises(TooCostly, match=r"WebP of 16383×6000 takes about 2,343 MB .* images\.decode_memory_mb = 1,536"):
        pool.decode(webp_of_one_colour(), 224)
    assert pool.pids() == pids
    with DecoderPool(ImageSettings(decode_memory_mb=64), processes=1) as small:
        with pytest.raises(TooCostly, match=r"images\.decode_memory_mb"):
            small.decode(gif_of_one_pixel(), 224)
        assert small.decode(PICTURES[0].read_bytes(), 224).shape[2] == 3


def test_a_large_plain_picture_is_passed_on_small(pool: DecoderPool) -> None:
    pixels = pool.decode(gif_of_one_pixel(), 224)
    assert pixels.nbytes <= 150_000_000
    assert pixels.shape == (4_995, 5_000, 3)
    assert pool.decode(webp_of_one_colour(400, 300), 224).shape == (300, 400, 3)


@pytest.mark.usefixtures("whatever_else_runs")
def test_the_quick_lane_decodes_what_is_quick(bomb: bytes) -> None:
    with DecoderPool(ImageSettings(decode_cpu_s=5.0), processes=1, quick=True) as quick:
        assert quick.decode(PICTURES[0].read_bytes(), 224).shape[2] == 3
        pids = quick.pids()
        with pytest.raises(Postponed):
            quick.decode(gif_of_one_pixel(), 224)
        assert quick.pids() == pids
        with pytest.raises(Postponed):
            quick.decode(bomb, 224)
        assert quick.metrics()["decodes_killed"] == 1


def test_a_cancelled_decode_ends_its_process(bomb: bytes) -> None:
    with DecoderPool(ImageSettings(decode_cpu_s=3_600), processes=1) as pool:
        pool.start()
        (pid,) = pool.pids()
        cancellation, outcome = Cancellation(), []

        def work() -> None:
            try:
                pool.decode(bomb, 224, cancellation)
            except Cancelled as cancelled:
                outcome.append(cancelled)

        thread = threading.Thread(target=work)
        thread.start()
        eventually(lambda: psutil.Process(pid).memory_info().rss > 150_000_000, "the bomb is not being decoded")
        cancellation.cancel()
        thread.join(LONG_S)
        assert len(outcome) == 1
        assert gone(pid)
        with pytest.raises(Cancelled):
            pool.decode(PICTURES[0].read_bytes(), 224, cancellation)
        assert pool.decode(PICTURES[0].read_bytes(), 224).shape[2] == 3


def test_a_killed_process_is_replaced(pool: DecoderPool) -> None:
    pool.start()
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: gone(pid), "it lives")
    assert pool.decode(PICTURES[0].read_bytes(), 224).shape[2] == 3


PARENT = """
import sys, threading
from pathlib import Path
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.settings import ImageSettings
pool = DecoderPool(ImageSettings(decode_cpu_s=3600), processes=2)
pool.start()
print(*pool.pids(), flush=True)
pool.decode(Path(sys.argv[1]).read_bytes(), 224)
"""


def test_no_process_outlives_a_killed_parent(tmp_path: Path, bomb: bytes) -> None:
    """Neither one that waits for a file nor one that decodes a bomb."""
    (tmp_path / "bomb.jpg").write_bytes(bomb)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "bomb.jpg")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    eventually(
        lambda: max(psutil.Process(pid).memory_info().rss for pid in pids) > 150_000_000, "no bomb is being decoded"
    )
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: all(gone(pid) for pid in pids), "a decoder outlived its parent")


def test_a_closed_pool_leaves_no_process() -> None:
    with DecoderPool(ImageSettings(), processes=2) as pool:
        pool.start()
        pids = pool.pids()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_decoder_has_no_secrets_and_can_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_API_TOKEN", "a-secret-token")
    with DecoderPool(ImageSettings(decode_memory_mb=100), processes=1) as pool:
        pool.start()
        (pid,) = pool.pids()
        folder = Path("/proc") / str(pid)
        assert b"a-secret-token" not in (folder / "environ").read_bytes()
        limits = {line[:26].strip(): line[26:47].strip() for line in (folder / "limits").read_text().splitlines()}
        assert limits["Max open files"] == "4"
        assert sorted(each.name for each in (folder / "fd").iterdir()) == ["0", "1", "2", "3"]
        assert (limits["Max file size"], limits["Max core file size"]) == ("0", "0")
        assert int(limits["Max address space"]) < 2 << 30
        assert len(list((folder / "task").iterdir())) == 1


@given(st.binary(min_size=ANSWER_BYTES, max_size=ANSWER_BYTES))
def test_an_answer_that_no_decoder_gives_is_refused(header: bytes) -> None:
    for claimed in (header, b"NDAN" + header[4:], b"NDAN\0" + header[5:], b"NDAN\1" + header[5:]):
        try:
            answer = Answer.unpack(claimed, 1_000)
        except ValueError:
            continue
        assert answer.length <= 3_000


@given(st.integers(1, 1_000), st.integers(1, 1_000))
def test_headers_survive_the_wire(width: int, height: int) -> None:
    answer = Answer(Status.PICTURE, width, height, width * height * 3)
    assert Answer.unpack(answer.pack(), 10**6) == answer
    request = Request(width, 10**9, None, 0.5, 2.0, height)
    assert Request.unpack(request.pack()) == request


@pytest.mark.parametrize(
    "says",
    [
        "b'NDAN' + bytes([0]) + (2**31).to_bytes(4, 'big') * 2 + (2**40).to_bytes(8, 'big')",
        "b'NDAN' + bytes([1]) + bytes(8) + (2**40).to_bytes(8, 'big')",
        "b'x' * 21",
        "b'NDAN'",
    ],
)
def test_an_exploited_decoder_achieves_nothing(monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    monkeypatch.setattr(process, "_PROGRAM", f"import os; os.write(1, b'NDOK'); os.read(0, 1); os.write(1, {says})")
    with DecoderPool(ImageSettings(), processes=1) as pool, pytest.raises(TooCostly, match="decoder failed"):
        pool.decode(PICTURES[0].read_bytes(), 224)


def test_a_decoder_that_says_nothing_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROGRAM", "import os, time; os.write(1, b'NDOK'); time.sleep(3600)")
    monkeypatch.setattr(process, "_GRACE_S", 0.2)
    with DecoderPool(ImageSettings(decode_cpu_s=0.1), processes=1) as pool:
        with pytest.raises(TooCostly, match="seconds"):
            pool.decode(bytes(4_000_000), 224)
        assert pool.metrics()["decodes_killed"] == 1


def test_a_decoder_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROGRAM", "raise SystemExit('no decoder here')")
    with DecoderPool(ImageSettings(), processes=1) as pool, pytest.raises(SetupError, match="does not start"):
        pool.decode(PICTURES[0].read_bytes(), 224)
