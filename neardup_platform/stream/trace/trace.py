"""`trace`: everything the pipeline finds about a decided image, changing nothing (tracing.py)."""

import json
from functools import partial

from neardup_platform.errors import BadCommand
from neardup_platform.records import Decision
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.trace.tracing import REPORTED_CANDIDATES, trace
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.command_arguments import TraceArguments


class Trace:
    """The handler.

    Args:
        redeciding: the store and the pipeline, overrides and labels.
        most: candidates reported.
    """

    def __init__(self, redeciding: Redeciding, most: int = REPORTED_CANDIDATES) -> None:
        self._redeciding, self._store = redeciding, redeciding.store
        self._most = most

    def __call__(self, _command: pb.Command, arguments: TraceArguments) -> Finish:
        """See `Handler`; traces between two steps, when corpus and store hold the same images."""
        return partial(self._finish, arguments.image_id)

    def _finish(self, image_id: str) -> Done:
        record = self._store.images.find(image_id)
        if record is None:
            raise BadCommand(f"image {image_id[:80]!r} has not been decided, so there is nothing to trace")
        active = _describe(decode_decision(self._store.history.current(image_id)))
        constraint = self._redeciding.constraints()(image_id, {})
        found = trace(self._redeciding.pipeline, record.ordinal, constraint, self._most)
        report = {"image_id": image_id, "in_force": active, **found}
        return Done({"trace": json.dumps(report, ensure_ascii=False)})


def _describe(decision: Decision) -> dict[str, object]:
    return {
        "head": decision.head,
        "founded": decision.founded,
        "score": round(decision.score, 6),
        "head_score": round(decision.head_score, 6),
        "threshold": decision.threshold,
        "head_threshold": decision.head_threshold,
        "undistinctive": decision.undistinctive,
        "corpus_images": decision.corpus_images,
        "sequence": decision.sequence,
        "decided_ms": decision.decided_ms,
        "terms_version": decision.terms_version,
        "classifier_version": decision.classifier_version,
    }
