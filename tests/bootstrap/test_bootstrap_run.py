"""A data set is loaded through a real worker: what the stream would decide, whatever rows it comes in."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.bootstrap.elsewhere import Elsewhere
from neardup_platform.bootstrap.s3_progress import LoadFolder
from neardup_platform.errors import BadArtefact, BadCommand, NotFound
from neardup_platform.ingest.kafka_sender import Sender
from neardup_platform.operations.kafka_bootstrap import Bootstrap
from neardup_platform.records import JoinedImage
from neardup_platform.s3_client import open_s3
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.testing import eventually
from tests.bootstrap.loaded_data_sets import CORPUS, START_MS, counted, image, load, put, row, state
from tests.conftest import emptied
from tests.stream.worker_process import images, reading, running

SEGMENT = "segments/00000.parquet"


@pytest.fixture(scope="module")
def streamed_digest(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state after the corpus was streamed, one image after the other, to a worker of its own."""
    settings = emptied(servers, tmp_path_factory.mktemp("streamed") / "home")
    with running(settings), Sender(settings) as sender, reading(settings) as reader:
        for number, each in enumerate(CORPUS):
            sender.send(each)
            eventually(partial(_has, reader, number + 1))
        return str(reader.state().digest)


def _has(reader: SecondaryStore, count: int) -> bool:
    return images(reader) == count


def test_a_data_set_without_heads_is_decided_as_if_it_were_streamed(
    streamed_digest: str, platform: Settings, tmp_path: Path
) -> None:
    paired, unpaired = CORPUS[5], image(100, START_MS)
    shuffled = [row(CORPUS[number * 7 % 24]) for number in range(24) if number * 7 % 24 != 5]
    put(
        platform,
        "shop",
        tmp_path,
        [*shuffled[:12], row(paired, "p"), row(unpaired, "l")],
        [*shuffled[12:], row(paired, "l", event_time_ms=START_MS), shuffled[0]],
        [row(image(101, START_MS), lsh_version="another"), row(image(102, START_MS), lsh=[float("nan")] * 3)],
    )
    with pytest.raises(BadArtefact, match=r"2 of 29 rows .* are bad \(1 other-version, 1 bad-dimension\).*bad-rows"):
        load(platform, "shop")
    before = state(platform).images
    result = load(platform, "shop", skip_bad=True)
    assert counted(result) == {"decided": 24, "published": 1}
    assert (result.check.joined, result.check.repeated, result.check.bad_rows) == (1, 1, 2)
    assert (before, state(platform).images, str(state(platform).digest)) == (0, 24, streamed_digest)


def test_a_version_is_loaded_once_and_an_overlapping_data_set_adds_what_is_new(
    platform: Settings, tmp_path: Path
) -> None:
    first, second = [image(number, START_MS) for number in range(30, 34)], image(34, START_MS)
    put(platform, "one", tmp_path, [row(each) for each in first])
    assert counted(load(platform, "one")) == {"decided": 4}
    repeated = load(platform, "one")
    assert (repeated.already, counted(repeated)) == (True, {"decided": 4})
    assert counted(load(platform, "one", again=True)) == {"known": 4}
    other = row(first[1], pair=second.pair.vector.tolist())
    put(platform, "two", tmp_path, [row(first[0]), other, row(second)])
    assert counted(load(platform, "two")) == {"decided": 1, "known": 1, "conflicting": 1}


def test_a_replaced_file_is_another_version(platform: Settings, tmp_path: Path) -> None:
    put(platform, "grows", tmp_path, [row(image(40, START_MS))])
    first = load(platform, "grows")
    put(platform, "grows", tmp_path, [row(image(40, START_MS)), row(image(41, START_MS))])
    second = load(platform, "grows")
    assert first.version != second.version
    assert counted(second) == {"decided": 1, "known": 1}
    with pytest.raises(BadArtefact, match=f"has the version {second.version} now, not {first.version}"):
        Bootstrap(platform, "grows", first.version, "a test")


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
def test_a_file_that_changes_during_the_load_ends_it_before_anything_is_loaded(
    platform: Settings, tmp_path: Path, replaced: bool
) -> None:
    name = "replaced" if replaced else "deleted"
    put(platform, name, tmp_path, [row(image(50, START_MS))], [row(image(51, START_MS))])
    before, run = state(platform).images, Bootstrap(platform, name, None, "a test")
    s3, key = open_s3(platform.s3), f"bootstrap/{name}/1.parquet"
    if replaced:
        s3.put_object(Bucket=platform.s3.bucket, Key=key, Body=b"PAR1 other PAR1" * 1_000)
    else:
        s3.delete_object(Bucket=platform.s3.bucket, Key=key)
    says = "was replaced while" if replaced else "vanished while"
    with pytest.raises(NotFound, match=rf"{name}/1\.parquet {says} the data set was being read"):
        run.run()
    assert state(platform).images == before


def test_a_run_that_ends_in_between_is_continued_with_the_segments_that_it_wrote(
    platform: Settings, tmp_path: Path
) -> None:
    rows = [row(image(number, START_MS)) for number in range(60, 66)]
    put(platform, "continued", tmp_path, rows)
    # Smaller than the settings allow, so that there are several.
    small = platform.bootstrap.model_copy(update={"segment_images": 2})
    platform = platform.model_copy(update={"bootstrap": small})

    def sent(line: str) -> None:
        if "after 1 finished command" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bootstrap(platform, "continued", None, "a test", sent).run()
    lines: list[str] = []
    result = Bootstrap(platform, "continued", None, "a test", lines.append).run()
    assert counted(result) == {"decided": 6}
    assert not [line for line in lines if "is on S3" in line]
    assert len([line for line in lines if line.startswith("sending ingest-segment")]) == 2


def test_a_command_that_the_worker_refuses_is_sent_again_under_another_id(platform: Settings, tmp_path: Path) -> None:
    put(platform, "refused", tmp_path, [row(image(70, START_MS))])
    s3, lines = open_s3(platform.s3), list[str]()

    def spoil(line: str) -> None:
        lines.append(line)
        if line.startswith("sending ingest-segment") and len(ids(lines)) == 1:
            name = line.split("command ")[1].split("-1-0", maxsplit=1)[0]
            s3.put_object(Bucket=platform.s3.bucket, Key=LoadFolder(s3, "", name).key(SEGMENT), Body=b"no Parquet")

    with pytest.raises(BadCommand, match=r"not a readable Parquet file.*0 commands of this load finished"):
        Bootstrap(platform, "refused", None, "a test", spoil).run()
    with pytest.raises(BadCommand):
        Bootstrap(platform, "refused", None, "a test", spoil).run()
    assert len(set(ids(lines))) == 2
    assert counted(load(platform, "refused", again=True)) == {"decided": 1}


@pytest.mark.parametrize(("number", "at"), [(120, "checking"), (130, "sending load"), (140, "sending ingest-segment")])
def test_a_killed_run_is_continued_and_every_image_is_loaded_once(
    platform: Settings, tmp_path: Path, number: int, at: str
) -> None:
    head, *others = [image(each, START_MS) for each in range(number, number + 6)]
    headed = [row(each, head=head.image_id) for each in (head, *others[:3])]
    put(platform, f"killed-{number}", tmp_path, [*headed, *map(row, others[3:])])
    before = state(platform).images
    assert kill_at(at, platform, f"killed-{number}") == -signal.SIGKILL
    assert counted(load(platform, f"killed-{number}")) == {"loaded": 4, "decided": 2}
    assert state(platform).images == before + 6
    with reading(platform) as reader:
        assert {stored_head(reader, each) for each in (head, *others[:3])} == {head.image_id}


KILLED_RUN = """
import os, signal, sys
from neardup_platform.operations.kafka_bootstrap import Bootstrap
from neardup_platform.settings import Settings
data_set, last = sys.argv[1:]
said = lambda line: os.kill(os.getpid(), signal.SIGKILL) if line.startswith(last) else None
Bootstrap(Settings(), data_set, None, "a test", said).run()
"""


def kill_at(line: str, settings: Settings, data_set: str) -> int:
    """Start a run that is killed when it says so, in the middle of it; returns its exit status."""
    command = [sys.executable, "-c", KILLED_RUN, data_set, line]
    return subprocess.run(command, env={**os.environ, **environment(settings)}, check=False).returncode


def ids(lines: list[str]) -> list[str]:
    """Of the commands sent."""
    return [line.split("command ")[1].split(",")[0] for line in lines if line.startswith("sending")]


def test_given_heads_are_kept_beside_images_that_are_decided(platform: Settings, tmp_path: Path) -> None:
    first, *others = [image(number, START_MS) for number in range(80, 85)]
    headed = [row(each, head=first.image_id) for each in (first, *others)]
    put(platform, "heads", tmp_path, [*headed[2:], row(image(85, START_MS))], headed[:2])
    result = load(platform, "heads")
    assert counted(result) == {"loaded": 5, "decided": 1}
    assert (result.check.headed, result.check.founded, result.check.vectors) == (5, 1, False)
    with reading(platform) as reader:
        assert {stored_head(reader, each) for each in (first, *others)} == {first.image_id}


def stored_head(reader: SecondaryStore, of: JoinedImage) -> str | None:
    found = reader.images.find(of.image_id)
    return found.head if found else None


def test_data_sets_that_overlap_may_be_loaded_at_once_and_what_comes_first_stays(
    platform: Settings, tmp_path: Path
) -> None:
    first, second, third, free, other = (image(number, START_MS) for number in range(150, 155))
    one = [row(each, head=first.image_id) for each in (first, second, third)]
    two = [row(each, head=second.image_id) for each in (second, third, other)]
    put(platform, "overlaps-1", tmp_path, [*one, row(free)])
    put(platform, "overlaps-2", tmp_path, [*two, row(free, lsh=third.lsh.vector.tolist())])
    before = state(platform).images
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(partial(load, platform), ["overlaps-1", "overlaps-2"]))
    counts = sum((Counter(counted(each)) for each in results), Counter())
    elsewhere = [each for result in results for each in result.elsewhere]
    assert counts == {"loaded": 4, "known": 2, "decided": 1, "conflicting": 1, "elsewhere": len(elsewhere)}
    assert state(platform).images == before + 5
    with reading(platform) as reader:
        heads = {stored_head(reader, each) for each in (second, third, other)}
        assert stored_head(reader, first) == first.image_id
        assert heads in ({first.image_id}, {second.image_id})
    # What the first one has decided; of the other one, only an image that names itself has another head.
    kept, other_head = (first, second) if heads == {first.image_id} else (second, first)
    named = (second,) if kept is first else (second, third)
    assert elsewhere == [Elsewhere(each.image_id, other_head.image_id, kept.image_id) for each in named]
    again = load(platform, "overlaps-2" if kept is first else "overlaps-1")
    assert (again.already, list(again.elsewhere)) == (True, elsewhere)
    folder = LoadFolder(open_s3(platform.s3), platform.s3.bucket, f"{again.name}@{again.version}")
    body = open_s3(platform.s3).get_object(Bucket=platform.s3.bucket, Key=folder.key("report.json"))["Body"].read()
    assert json.loads(body)["elsewhere"] == [asdict(each) for each in elsewhere]


def test_a_dangling_head_refuses_the_data_set_or_is_skipped(platform: Settings, tmp_path: Path) -> None:
    good, dangling = image(90, START_MS), image(91, START_MS)
    rows = [row(good, head=good.image_id), row(dangling, head="nowhere"), row(image(92, START_MS))]
    put(platform, "dangling", tmp_path, rows)
    before = state(platform).images
    with pytest.raises(BadCommand, match=r"dangling-head.*0 commands of this load finished before"):
        load(platform, "dangling")
    assert state(platform).images == before
    assert counted(load(platform, "dangling", skip_bad=True)) == {"loaded": 1, "decided": 1, "skipped": 1}
