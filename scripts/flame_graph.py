"""Draws a flame graph of the stream worker from the stacks that py-spy records: `docs/images/worker-flames.svg`.

    py-spy record --pid PID --duration 30 --rate 250 --threads --nonblocking --format raw --output stacks.txt
    python -m scripts.flame_graph stacks.txt docs/images/worker-flames.svg

Threads side by side, callers above what they call, width by samples. Left out: samples of threads that wait for
messages, another thread or the disk, the frames that start a thread or a command, and what is narrower than a pixel or
two. Pointing at a box shows its share.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, ROW, LETTER = 1_200, 17, 6.6
LEAST_SHARE = 0.004
_WAITING = re.compile(
    r"Condition\.wait |\.select \(selectors|^_worker \(concurrent|Store\.sync |_result_or_cancel |lock\.acquire"
)
_STARTING = re.compile(
    r"runpy|threading\.py|click/|neardup_platform/cli/|concurrent/futures|_run_over_one_store|run_worker |<module>"
)
_COLOURS = {"neardup_platform/": "#f5b971", "kafka/": "#9bc1e6", "numpy/": "#a9d6a5"}


@dataclass(slots=True)
class Frame:
    """A function with its samples, those of what it calls included."""

    samples: int = 0
    called: dict[str, "Frame"] = field(default_factory=dict)
    file: str = ""


def read_stacks(lines: Iterable[str]) -> Frame:
    """Sums stacks, `thread;outer;…;inner samples` each, as a tree of functions, whatever their lines."""
    root = Frame()
    for line in lines:
        stack, samples = line.rsplit(" ", 1)
        thread, *frames = stack.split(";")
        if not frames or _WAITING.search(frames[-1]):
            continue
        names = [re.sub(r"thread \(\d+\): |[_-]\d+$", "", thread), *(f for f in frames if not _STARTING.search(f))]
        _add(root, names, int(samples))
    return root


def _add(root: Frame, frames: Sequence[str], samples: int) -> None:
    frame = root
    frame.samples += samples
    for text in frames:
        name, _, file = text.partition(" (")
        frame = frame.called.setdefault(name, Frame(file=file.partition(":")[0]))
        frame.samples += samples


def draw(root: Frame) -> str:
    """Returns the SVG."""
    boxes: list[str] = []
    depth = _draw(root, root.samples, 0.0, 0, boxes)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {depth * ROW}" font-family="sans-serif" '
    return head + 'font-size="11">\n' + "\n".join(boxes) + "\n</svg>\n"


def _draw(frame: Frame, total: int, left: float, row: int, boxes: list[str]) -> int:
    """Draws what a frame calls, widest first; returns the number of rows in use."""
    deepest = row
    for name, called in sorted(frame.called.items(), key=lambda item: -item[1].samples):
        share = called.samples / total
        if share < LEAST_SHARE:
            continue
        boxes.append(_box(name, called, share, left, row))
        deepest = max(deepest, _draw(called, total, left, row + 1, boxes))
        left += share * WIDTH
    return max(deepest, row)


def _box(name: str, frame: Frame, share: float, left: float, row: int) -> str:
    width, top = share * WIDTH, row * ROW
    colour = next((c for part, c in _COLOURS.items() if part in frame.file), "#d9d9d9")
    letters = int((width - 6) / LETTER)
    text = name if len(name) <= letters else name.rsplit(".", 1)[-1][:letters]
    label = f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(text)}</text>' if letters > 2 else ""
    return (
        f"<g><title>{escape(name)} {share:.1%}</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{width - 0.5:.1f}" height="{ROW - 1}" fill="{colour}"/>{label}</g>'
    )


if __name__ == "__main__":
    stacks, picture = map(Path, sys.argv[1:])
    picture.write_text(draw(read_stacks(stacks.read_text().splitlines())))
