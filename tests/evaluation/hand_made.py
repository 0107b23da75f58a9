"""A small hand-made evaluation with given rows, clusters and scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neardup_platform.evaluation.embedded_rows import EmbeddedRows
from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.outcome import Evaluation
from neardup_platform.evaluation.pipeline_run import Run
from neardup_platform.matching import Matching
from neardup_platform.records import Embedding, JoinedImage, Kind

THRESHOLD = 0.5


def evaluation_of(
    groups: Sequence[str],
    heads: Sequence[int],
    scored: Sequence[tuple[int, int, float]],
    *,
    refused: Sequence[int] = (),
    parts: Sequence[Sequence[int]] | None = None,
    rows: Sequence[Row] | None = None,
) -> Evaluation:
    """Row i belongs to `groups[i]` and joined `heads[i]`; `scored` lists later row, earlier row and score."""
    made = rows or [Row(Path(f"/pictures/{number}.jpg"), group) for number, group in enumerate(groups)]
    images = {n: _image(n) for n in range(len(made)) if n not in refused}
    embedded = EmbeddedRows(made, images, dict.fromkeys(refused, "no picture"), np.arange(len(made), dtype="u8"), 1.0)
    runs = [_run(part, heads, scored, refused) for part in parts or [range(len(made))]]
    return Evaluation(embedded, runs, 0, len(runs))


def _run(
    part: Sequence[int], heads: Sequence[int], scored: Sequence[tuple[int, int, float]], refused: Sequence[int]
) -> Run:
    decided = np.array([number for number in part if number not in refused], np.int64)
    pairs = [pair for pair in scored if pair[0] in part]
    return Run(
        part=np.array(part, np.int64),
        decided=decided,
        heads=np.array([heads[number] for number in decided], np.int64),
        later=np.array([pair[0] for pair in pairs], np.int64),
        earlier=np.array([pair[1] for pair in pairs], np.int64),
        scores=np.array([pair[2] for pair in pairs], np.float32),
        kinds=np.zeros(len(pairs), np.uint8),
        classifier="by hand",
        matching=Matching(10, 0, THRESHOLD, 0.4),
        seconds=1.0,
    )


def _image(number: int) -> JoinedImage:
    vector = np.random.default_rng(number).standard_normal(8).astype(np.float32)
    return JoinedImage(*(Embedding(str(number), kind, "test", vector, 0) for kind in (Kind.LSH, Kind.PAIR)))
