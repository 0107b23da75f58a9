"""The flame graph of the worker: threads that wait are left out, and widths are shares of samples."""

import re
from xml.etree import ElementTree

from scripts.flame_graph import WIDTH, draw, read_stacks

STACKS = """\
thread (7): MainThread;<module> (click/core.py:9);Worker.turn (neardup_platform/stream/worker.py:104);commit (a.py:5) 60
thread (7): MainThread;<module> (click/core.py:9);Worker.turn (neardup_platform/stream/worker.py:100);r<b> (b.py:1) 20
thread (8): term-search_0;_worker (concurrent/futures/thread.py:83);search (neardup_platform/terms/index.py:1) 15
thread (9): term-search_1;_worker (concurrent/futures/thread.py:83);search (neardup_platform/terms/index.py:1) 5
thread (9): term-search_1;_worker (concurrent/futures/thread.py:81) 900
thread (7): MainThread;Worker.turn (neardup_platform/stream/worker.py:100);Condition.wait (threading.py:327) 700
"""


def test_running_code_of_equal_threads_is_summed_and_waiting_is_left_out() -> None:
    root = read_stacks(STACKS.splitlines())
    assert root.samples == 100
    assert {name: frame.samples for name, frame in root.called.items()} == {"MainThread": 80, "term-search": 20}
    (turn,) = root.called["MainThread"].called.items()
    assert (turn[0], turn[1].samples, set(turn[1].called)) == ("Worker.turn", 80, {"commit", "r<b>"})


def test_the_picture_has_a_box_for_each_function_as_wide_as_its_share() -> None:
    picture = ElementTree.fromstring(draw(read_stacks(STACKS.splitlines())))  # noqa: S314 -- just drawn
    boxes = {
        group.findtext("{*}title"): float(group.find("{*}rect").get("width", "0"))  # type: ignore[union-attr]
        for group in picture.findall("{*}g")
    }
    assert set(boxes) == {
        "MainThread 80.0%",
        "Worker.turn 80.0%",
        "commit 60.0%",
        "r<b> 20.0%",
        "term-search 20.0%",
        "search 20.0%",
    }
    assert all(
        abs(width - WIDTH * float(re.findall(r"[\d.]+", name)[-1]) / 100) < 1 for name, width in boxes.items() if name
    )
