"""Claims about the ids of images by ordinal, in memory, on disk, and in a process that follows the writer."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, InvariantBroken, ServerUnavailable, SetupError
from neardup_platform.id_space import MAX_ORDINALS
from neardup_platform.image_table.checkpoint import (
    NAME,
    Checkpoint,
    Columns,
    read_checkpoint,
    read_columns,
    write_checkpoint,
)
from neardup_platform.image_table.ids import (
    FIRST_BYTES,
    FIRST_ROWS,
    LONGEST_ID_BYTES,
    MemoryIds,
    WritableIds,
    packed,
)
from neardup_platform.image_table.mmap_ids import FollowedIds, WrittenIds

IDS = ["kitten.jpg", "brücke/größe.png", "a", "字" * 40]
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


def columns_of(count: int) -> Columns:
    return Columns(np.arange(1, count + 1, dtype=np.uint32), np.arange(count) % 3 == 0)


def save(folder: Path, ids: WrittenIds, commit: int = 1) -> None:
    ids.sync()
    count = len(ids)
    found = Checkpoint("s", commit, commit, count, ids.generation, ids.text_bytes)
    write_checkpoint(folder, found, columns_of(count))


@contextmanager
def written(folder: Path, ids: list[str]) -> Iterator[WrittenIds]:
    """A table of a writer, saved."""
    with closing(WrittenIds(folder, None)) as table:
        table.append(ids)
        save(folder, table)
        yield table


def contents(table: WritableIds | FollowedIds) -> list[str]:
    return [table.id_of(ordinal) for ordinal in range(len(table))]


class Listed(list[str]):
    """The ids, as a list."""

    def skip(self, count: int) -> None:
        self += [""] * count

    def fill(self, first: int, ids: list[str]) -> None:
        self[first : first + len(ids)] = ids

    def erase(self, ordinals: NDArray[np.int64]) -> None:
        self[int(ordinals[0])] = ""

    def arguments(self, what: str, value: Any) -> tuple[Any, ...] | None:
        """The arguments with which a step can be taken now; None if it cannot."""
        if what == "erase":
            return (np.array([value % len(self)]),) if self else None
        if what == "fill":
            return (self.index(""), [value]) if "" in self else None
        return (value,)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("extend"), st.lists(texts, max_size=5)),
            st.tuples(st.just("skip"), st.integers(0, 5)),
            st.tuples(st.just("erase"), st.integers(0, 1_000)),
            st.tuples(st.just("fill"), texts),
            st.tuples(st.just("save"), st.none()),
        ),
        max_size=30,
    )
)
def test_tables_hold_what_a_list_holds(steps: list[tuple[str, Any]]) -> None:
    expected, memory = Listed(), MemoryIds()
    with TemporaryDirectory() as name:
        disk = WrittenIds(Path(name), None)
        for what, value in steps:
            if what == "save":
                save(Path(name), disk)
                disk.close()
                disk = WrittenIds(Path(name), read_checkpoint(Path(name)))
            elif (arguments := expected.arguments(what, value)) is not None:
                for table in (disk, memory):
                    getattr(table, "append" if what == "extend" else what)(*arguments)
                getattr(expected, what)(*arguments)
            assert contents(disk) == contents(memory) == expected
            assert disk.alive().tolist() == memory.alive().tolist() == [image_id != "" for image_id in expected]
        disk.close()


def test_rows_and_bytes_grow_beyond_the_first_room(tmp_path: Path) -> None:
    ids = [f"{number:040d}" for number in range(3 * max(FIRST_ROWS, FIRST_BYTES // 40))]
    with written(tmp_path, ids) as table:
        assert contents(table) == ids
    memory = MemoryIds()
    memory.append(ids)
    assert contents(memory) == ids


def test_an_erased_id_is_nowhere_in_the_files(tmp_path: Path) -> None:
    with written(tmp_path, IDS) as table:
        table.erase(np.array([0]))
        assert contents(table) == ["", *IDS[1:]]
    assert not [path for path in tmp_path.iterdir() if b"kitten" in path.read_bytes()]


def test_an_id_that_is_put_again_is_not_written_again(tmp_path: Path) -> None:
    with written(tmp_path, IDS) as table:
        before = table.text_bytes
        table.put(1, IDS[1])
        assert table.text_bytes == before
        table.put(1, "other")
        table.put(2, "")
        assert contents(table) == [IDS[0], "other", "", IDS[3]]


def test_what_was_written_after_a_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    """A follower may still read it, when the writer was killed and continues."""
    with written(tmp_path, IDS) as table:
        follower = FollowedIds(tmp_path, "s")
        table.append(["seen"])
        follower.check(0, [*IDS, "seen"])
        follower.append([*IDS, "seen"])
    with closing(WrittenIds(tmp_path, read_checkpoint(tmp_path))) as again:
        again.append(["longer than seen"])
        assert contents(again) == [*IDS, "longer than seen"]
        again.put(4, "seen")
        assert contents(follower) == [*IDS, "seen"]


def test_a_follower_sees_the_ids_of_the_writer_and_those_it_erases(tmp_path: Path) -> None:
    follower = FollowedIds(tmp_path, "s")
    with pytest.raises(ServerUnavailable, match=r"images 0 to 3 are not in .* yet"):
        follower.check(0, IDS)
    with written(tmp_path, IDS) as table:
        follower.check(0, IDS)
        follower.append(IDS)
        more = [f"more {number}" for number in range(2 * FIRST_ROWS)]
        table.append(more)
        follower.check(len(IDS), more)
        follower.append(more)
        assert contents(follower) == IDS + more
        table.erase(np.array([1]))
        assert follower.id_of(1) == ""
        with pytest.raises(ServerUnavailable, match="images 1 to 1"):
            follower.check(1, ["another"])


def test_a_follower_uses_no_ids_of_another_store(tmp_path: Path) -> None:
    with written(tmp_path, IDS), pytest.raises(ServerUnavailable):
        FollowedIds(tmp_path, "another").check(0, IDS)


@pytest.mark.parametrize("name", [NAME, "columns-1.bin", "ids-*.text", "ids-*.places"])
def test_a_damaged_or_missing_file_is_found(tmp_path: Path, name: str) -> None:
    with written(tmp_path, IDS):
        pass
    (path,) = tmp_path.glob(name)
    content = path.read_bytes()
    path.write_bytes(content[:3])
    with pytest.raises(BadArtefact, match="read from the store"):
        read_checkpoint(tmp_path)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    if name == "columns-1.bin":
        found = read_checkpoint(tmp_path)
        assert found is not None
        with pytest.raises(BadArtefact, match="wrong checksum"):
            read_columns(tmp_path, found)
    path.unlink()
    if name == NAME:
        assert read_checkpoint(tmp_path) is None
    else:
        with pytest.raises(BadArtefact, match="No such file"):
            read_checkpoint(tmp_path)


def test_columns_are_those_that_were_written_and_earlier_files_are_removed(tmp_path: Path) -> None:
    with written(tmp_path, IDS) as table:
        table.append(["later"])
        save(tmp_path, table, commit=7)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert (found.commit, found.ordinals) == (7, 5)
    columns = read_columns(tmp_path, found)
    assert columns.heads.tolist() == [1, 2, 3, 4, 5]
    assert columns.retired.tolist() == [True, False, False, True, False]
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_held_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvariantBroken, match=rf"'aaa\w+'… has {LONGEST_ID_BYTES + 1} bytes, at most {LONGEST_ID_BYTES}"
    ):
        MemoryIds().append(["b", "a" * (LONGEST_ID_BYTES + 1)])
    longest = MemoryIds()
    longest.append(["a" * LONGEST_ID_BYTES])
    assert len(longest.id_of(0)) == LONGEST_ID_BYTES
    with written(tmp_path, IDS) as table, pytest.raises(SetupError, match=f"at most {MAX_ORDINALS}"):
        table.skip(MAX_ORDINALS)


def test_packed_ids_are_filled_in_without_those_that_are_left_out(tmp_path: Path) -> None:
    whole = packed(["", *IDS])
    assert [whole.id_of(number) for number in range(len(whole))] == ["", *IDS]
    some = whole.without(np.array([0, 2, 4]))
    assert "größe" not in some.text.tobytes().decode(errors="replace")
    memory = MemoryIds()
    with closing(WrittenIds(tmp_path, None)) as table:
        for each in (memory, table):
            each.append(["before"])
            each.skip(len(some) + 1)
            each.fill_packed(1, some)
            assert contents(each) == ["before", "", "kitten.jpg", "", "a", "", ""]
    assert whole.id_of(2) == IDS[1], "a copy was changed"
