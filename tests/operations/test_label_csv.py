"""Claims about CSV files of labels."""

import io

import pytest

from neardup_platform.client.answers import StoredLabel
from neardup_platform.errors import BadCommand
from neardup_platform.operations.label_csv import LABELS, write_labels
from neardup_platform.wire.command_arguments import LabelArguments

HEADER = "bank,image_id,policy,action,reason\n"


def test_rows_are_labels() -> None:
    (label,) = LABELS.read(HEADER + 'one,"a,1.jpg",hate,block,\n', "f")
    assert label == LabelArguments(bank="one", image_id="a,1.jpg", policy="hate", action="block")


def test_an_export_can_be_imported() -> None:
    labels = [
        StoredLabel(f"l{n}", "one", image_id, "hate", "block", 'said "so"', "a test", 7, n)
        for n, image_id in enumerate(('a"b', "a,b", "=1+1", "'=1+1", "ä", "it's", "a;=b"))
    ]
    out = io.StringIO()
    write_labels(labels, out)
    assert '\n"one","\'=1+1","hate"' in out.getvalue()
    read = LABELS.read(out.getvalue(), "f")
    assert [(each.bank, each.image_id, each.policy, each.action, each.reason) for each in read] == [
        (each.bank, each.image_id, each.policy, each.action, each.reason) for each in labels
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bank,image_id\n", "f must have the columns bank, image_id, policy, action and may have reason, label_id"),
        (HEADER, "f has no rows below its header: one for each label is expected"),
        (HEADER + "Bad,a,p,block,\n", "line 2: bank is 'Bad'.*no label was sent"),
        (HEADER + "one,a,p,block,\none,a,p,block,\n", "line 3 repeats line 2"),
        (HEADER + "one,a,,block,\n", "line 2: label takes the arguments"),
    ],
)
def test_a_wrong_file_is_refused_as_a_whole(text: str, says: str) -> None:
    with pytest.raises(BadCommand, match=says):
        LABELS.read(text, "f")
