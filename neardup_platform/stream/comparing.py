"""Compares the images of large steps in threads, while the worker reads more and commits the steps before.

Comparing depends on nothing that deciding changes, so the result does not depend on when it is done.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from neardup_platform.matching import Scored
from neardup_platform.pipeline import Added, Pipeline
from neardup_platform.records import JoinedImage
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.crash_points import CrashPoint, CrashPoints
from neardup_platform.stream.steps import Consumed

# Smaller steps are compared in the turn that reads them: passing them to a thread takes longer than it saves.
MIN_IMAGES = 16
# Steps that may wait, beside the one read last, while more is read; see worker.max_batch_images.
MAX_WAITING = 3
# Steps compared at once: while one waits for the slower of the threads that share it, the other continues.
_THREADS = 2


@dataclass(frozen=True, slots=True)
class StepInFlight:
    """A step whose images are being compared.

    Attributes:
        consumed: what it consumes from the log; nothing of a stage of a command.
        stage: of a command; None for a step of the stream.
    """

    comparing: Sequence[tuple[Added, "Future[Scored]"]]
    consumed: Consumed = field(default_factory=Consumed)
    stage: Handled | None = None

    @property
    def is_compared(self) -> bool:
        """Whether `compared` returns at once."""
        return all(scored.done() for _, scored in self.comparing)

    def compared(self) -> list[tuple[Added, Scored]]:
        """The images with their candidates, in parts."""
        return [(added, scored.result()) for added, scored in self.comparing]


class StepsInFlight:
    """Steps in the order of reading, each of which is being compared."""

    def __init__(self, pipeline: Pipeline, crash: CrashPoints) -> None:
        self._pipeline, self._crash = pipeline, crash
        self._threads = ThreadPoolExecutor(_THREADS, "compare")
        self._steps: deque[StepInFlight] = deque()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def full(self) -> bool:
        """Whether there are more than may be in flight."""
        return len(self._steps) > MAX_WAITING

    @property
    def first_is_compared(self) -> bool:
        """Whether the oldest step can be decided without waiting."""
        return bool(self._steps) and self._steps[0].is_compared

    def start(self, consumed: Consumed, images: Sequence[JoinedImage]) -> None:
        """Add images of the stream to the corpus and start comparing them."""
        self._steps.append(StepInFlight(self._compare_all(images), consumed))

    def start_stage(self, stage: Handled, images: Sequence[JoinedImage]) -> None:
        """Add the images of a stage of a command to the corpus and start comparing them."""
        self._steps.append(StepInFlight(self._compare_all(images), stage=stage))

    def take_first(self) -> StepInFlight:
        """Take the oldest step out."""
        return self._steps.popleft()

    def close(self) -> None:
        """Cancel what has not started."""
        self._threads.shutdown(cancel_futures=True)

    def _compare_all(self, images: Sequence[JoinedImage]) -> Sequence[tuple[Added, "Future[Scored]"]]:
        return [self._compare(part) for part in self._pipeline.split(images)]

    def _compare(self, images: Sequence[JoinedImage]) -> tuple[Added, "Future[Scored]"]:
        added = self._pipeline.add(images)
        self._crash.passing(CrashPoint.ADDED)
        if len(images) >= MIN_IMAGES:
            return added, self._threads.submit(self._pipeline.compare, added)
        scored: Future[Scored] = Future()
        scored.set_result(self._pipeline.compare(added))
        return added, scored
