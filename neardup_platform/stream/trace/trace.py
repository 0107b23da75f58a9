"""`trace`: everything the pipeline finds about a decided image, changing nothing (tracing.py).

| argument | |
|---|---|
| `image_id` | of a decided image |
"""

import json
from collections.abc import Callable

from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Decision
from neardup_platform.store.view import StoreView
from neardup_platform.stream.control.command import BadCommand, Finish, Outcome, check_arguments
from neardup_platform.stream.trace.tracing import REPORTED_CANDIDATES, trace
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision

NAME = "trace"


class Trace:
    """The handler.

    Args:
        store: holds the images.
        pipeline: returns the active one; called between two steps.
        most: candidates reported.
    """

    def __init__(self, store: StoreView, pipeline: Callable[[], Pipeline], most: int = REPORTED_CANDIDATES) -> None:
        self._store = store
        self._pipeline = pipeline
        self._most = most

    def __call__(self, command: pb.Command) -> Finish:
        """See `Handler`; traces between two steps, when corpus and store hold the same images."""
        image_id = check_arguments(command, {"image_id"}, set())["image_id"]

        def finish() -> Outcome:
            record = self._store.images.find(image_id)
            if record is None:
                raise BadCommand(f"image {image_id[:80]!r} has not been decided, so there is nothing to trace")
            active = _describe(decode_decision(self._store.history.current(image_id)))
            found = trace(self._pipeline(), record.ordinal, self._most)
            report = {"image_id": image_id, "in_force": active, **found}
            return Outcome({"trace": json.dumps(report, ensure_ascii=False)})

        return finish


def _describe(decision: Decision) -> dict[str, object]:
    return {
        "head": decision.head,
        "founded": decision.founded,
        "score": round(decision.score, 6),
        "head_score": round(decision.head_score, 6),
        "threshold": decision.threshold,
        "head_threshold": decision.head_threshold,
        "sequence": decision.sequence,
        "decided_ms": decision.decided_ms,
        "terms_version": decision.terms_version,
        "classifier_version": decision.classifier_version,
    }
