"""Claims about CSV files of PDQ hashes."""

import io

import pytest

from neardup_platform.client.answers import StoredHash
from neardup_platform.errors import BadCommand
from neardup_platform.operations import hash_csv
from neardup_platform.operations.hash_csv import HashTerms, lists_images, read_hashes, write_hashes

A, B, C = (64 * digit for digit in "abc")
HEADER = "bank,pdq,policy,action,reason,quality\n"
TERMS = HashTerms("known", "hate", "block")


def test_an_export_can_be_imported() -> None:
    hashes = [StoredHash(f"l{n}", f"bank-{n % 2}", f"{n:064x}", "hate", "block", "@a, b", "me", 7, n) for n in range(5)]
    out = io.StringIO()
    write_hashes(hashes, out)
    assert not lists_images(out.getvalue())
    found = read_hashes(out.getvalue(), "f")
    assert [(each.bank, each.policy, each.action, each.reason) for each in found.commands] == [
        (f"bank-{n}", "hate", "block", "@a, b") for n in (0, 1)
    ]
    assert {(each.bank, pdq) for each in found.commands for pdq in each.hashes} == {(h.bank, h.pdq) for h in hashes}
    assert (found.hashes, found.left_out) == (5, {})


@pytest.mark.parametrize(
    "text",
    [
        f"collab,signal_type,signal_str,category,tags\nSample,pdq,{A},WORTH,x y\nSample,video_md5,{32 * 'f'},W,\n",
        f"{A},2880742865368386,2020-07-31T18:47:52+0000,media_type_photo\n{A.upper()},1,2020,x\n",
        f"\ufefftype,indicator\r\nHASH_PDQ,{A}\r\nHASH_MD5,{32 * 'f'}\r\n",
        f"hash,quality\n{A},50\n{B},49\n",
        f" hash \n\n {A} \n",
    ],
    ids=["threatexchange", "no header", "graph", "quality", "bare"],
)
def test_files_of_other_tools_are_read_with_the_terms_that_are_given(text: str) -> None:
    found = read_hashes(text, "f", TERMS)
    (command,) = found.commands
    assert (command.bank, command.policy, command.action, command.hashes) == ("known", "hate", "block", (A,))


def test_rows_that_are_left_out_are_counted() -> None:
    text = f"type,pdq,quality\npdq,{A},100\n,{A},\nmd5,x,\npdq,{B},3\n"
    assert read_hashes(text, "f", TERMS).left_out == {
        "repeated": 1,
        "of another type": 1,
        "of a quality below 50": 1,
    }
    with pytest.raises(BadCommand, match="f has no PDQ hashes that can be matched; 1 rows are of another type"):
        read_hashes("type,pdq\nmd5,x\n", "f", TERMS)


def test_many_hashes_are_sent_in_several_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_csv, "MAX_HASHES_EACH", 2)
    found = read_hashes(f"pdq\n{A}\n{B}\n{C}\n", "f", TERMS)
    assert [each.hashes for each in found.commands] == [(A, B), (C,)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bank,policy\n", "f has no column image_id, for labels of images, and none of hashes"),
        ("", "f has no PDQ hashes"),
        (HEADER, "f has no PDQ hashes that can be matched"),
        (
            HEADER + f"one,{A},p,block,,\none,{A[1:]},p,block,,\n",
            "line 3: hash 'a+' is not 64 hexadecimal digits; no hash",
        ),
        (HEADER + f"one,{A},p,block,,101\n", "line 2: quality is '101', 0 to 100 are expected"),
        (HEADER + f"one,{A},p,block,,-1\n", "quality is '-1'"),
        (HEADER + f"one,{A},,block,,\n", "line 2: it has no policy: add the columns, or give them for all rows"),
        (HEADER + f"one,{A},p,block,,\none,{A},p,review,,\n", "has another policy or action than in line 2"),
        (HEADER + f"Bad,{A},p,block,,\n", "f: line 2: bank is 'Bad'"),
        (HEADER + f"one,{A},p,never-match,,\n", "line 2: a hash cannot have the action never-match"),
        (HEADER + f'one,"{A}', "f, line 2, is not CSV"),
    ],
)
def test_a_wrong_file_is_refused_as_a_whole(text: str, says: str) -> None:
    with pytest.raises(BadCommand, match=says):
        read_hashes(text, "f")


def test_a_file_with_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_csv, "MAX_ROWS", 1)
    with pytest.raises(BadCommand, match="f has more than 1 rows: split it"):
        read_hashes(f"pdq\n{A}\n{B}\n", "f", TERMS)


def test_a_file_of_images_is_told_from_one_of_hashes() -> None:
    assert lists_images('bank,"image_id",policy,action\r\n')
    assert not lists_images(f"{A}\n")
