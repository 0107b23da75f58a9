"""`neardup bench accuracy`: pair scores next to perceptual hashes, on labelled pictures that the user names.

Manifests → every method → **pairs by score, in lines** → rows and curves. Ours is the whole pipeline, as in `neardup
evaluate`: a true pair that was never a candidate is missed. A hash is compared with every other one (`hash_peers.py`),
and the score of a pair is its Hamming distance, negated. A pair with an unreadable picture is missed by every method.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from neardup_platform.bench.hamming_counts import by_score, distance_counts
from neardup_platform.bench.hash_peers import PEERS, HashPeer
from neardup_platform.bench.hashed_pictures import hash_rows
from neardup_platform.bench.labelled_pairs import ALL, Labels, Line
from neardup_platform.bench.machine import result
from neardup_platform.errors import SetupError
from neardup_platform.evaluation.evaluation import evaluate
from neardup_platform.evaluation.manifest import Row, read_manifests
from neardup_platform.evaluation.measures import TARGET_PRECISION
from neardup_platform.evaluation.outcome import Evaluation, outcome
from neardup_platform.scoring.calibration import best_f1, recall_at_precision
from neardup_platform.settings import ImageSettings, Settings

OURS = "neardup"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One method at its operating point.

    Attributes:
        method: its name.
        setting: the operating point in words.
        threshold: lowest score of a match.
        lines: what it found, all pictures first.
        ms_per_picture: from file to scores.
    """

    method: str
    setting: str
    threshold: float
    lines: Sequence[Line]
    ms_per_picture: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The result: of every method that is installed, and as the object that is printed."""

    measured: Sequence[Measured]
    answer: dict[str, Any]


def bench_accuracy(manifests: Sequence[Path], settings: Settings, report: Report) -> Accuracy:
    """Measure every method on the pictures of all manifests together.

    Args:
        manifests: CSVs with the columns `file`, `group` and optionally `subset`.
        settings: of the pipeline, and the limits of decoding.
        report: called with a line about the current step.

    Raises:
        SetupError: a manifest cannot be used, or no picture can be read.
        BadArtefact: a picture is listed twice, or a model is damaged.
    """
    rows = read_manifests(manifests)
    labels = Labels.of(rows)
    report(f"{OURS}: embedding and deciding {len(rows):,} pictures")
    evaluation = evaluate(rows, settings, lambda _: None)
    measured, missing = [measure_pipeline(evaluation, labels)], []
    for name, load in PEERS.items():
        try:
            peer = load()
        except SetupError as error:
            missing.append({"method": name, "missing": str(error)})
            continue
        report(f"{name}: hashing and comparing {len(rows):,} pictures")
        measured += measure_hash(name, peer, rows, labels, settings.images)
    described = {
        "manifests": [str(path) for path in manifests],
        "pictures": len(rows),
        "pictures_refused": len(evaluation.embedded.refused),
        "subsets": len(labels.names),
        "classifier": evaluation.runs[0].classifier,
        "trained_on_share": None if evaluation.trained_on is None else round(evaluation.trained_on / len(rows), 4),
    }
    return Accuracy(measured, result("accuracy", described, [*_rows(measured), *missing]))


def measure_pipeline(evaluation: Evaluation, labels: Labels) -> Measured:
    """Our own scored pairs at the classifier's threshold.

    Args:
        evaluation: of all rows by one run.
        labels: of the same rows.
    """
    whole, run = outcome(evaluation), evaluation.runs[0]
    compared = np.isin(np.arange(len(evaluation.rows)), run.decided)
    counts = labels.count(whole.numbers[whole.later], whole.numbers[whole.earlier], whole.scores, whole.true)
    seconds = evaluation.embedded.seconds + run.seconds
    return Measured(
        OURS,
        f"score ≥ {run.matching.threshold:.3f}",
        # The pipeline compares float32 with float32.
        float(np.float32(run.matching.threshold)),
        labels.lines(compared, counts),
        1e3 * seconds / len(evaluation.rows),
    )


def measure_hash(
    name: str, peer: HashPeer, rows: Sequence[Row], labels: Labels, limits: ImageSettings
) -> Iterator[Measured]:
    """A hash at its distance, with each of its least qualities."""
    hashes = hash_rows(rows, peer, limits)
    for least in peer.qualities:
        started, used = perf_counter(), hashes.qualities >= least
        counts = by_score(distance_counts(hashes.codes, used, labels))
        seconds = hashes.seconds + perf_counter() - started
        setting = f"distance ≤ {peer.max_distance}" + (f", quality ≥ {least}" if least else "")
        yield Measured(name, setting, -peer.max_distance, labels.lines(used, counts), 1e3 * seconds / len(rows))


def line_measures(line: Line, threshold: float) -> dict[str, int | float | None]:
    """Metrics of one line.

    Args:
        line: of a method.
        threshold: lowest score of a match.

    Returns:
        `pictures`, `compared`, `true_pairs`; `best_f1` and `recall_at_p99` over all thresholds; `recall` and
        `wrong_pairs_per_1000_pictures` at the threshold. Those that need a true pair are None without one.
    """
    curve, (hits, wrong) = line.curve, line.counts.matches(threshold)
    ratios = {
        "best_f1": best_f1(curve) if curve else 0.0,
        "recall_at_p99": recall_at_precision(curve, TARGET_PRECISION) if curve else 0.0,
        "recall": hits / max(1, line.true_pairs),
    }
    return {
        "pictures": line.pictures,
        "compared": line.compared,
        "true_pairs": line.true_pairs,
        **{name: round(value, 4) if line.true_pairs else None for name, value in ratios.items()},
        "wrong_pairs_per_1000_pictures": round(1e3 * wrong / line.pictures, 3),
    }


def _rows(measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """Line by line, the methods side by side; their time is that of all pictures."""
    for lines in zip(*(each.lines for each in measured), strict=True):
        for each, line in zip(measured, lines, strict=True):
            row = {"subset": line.name, "method": each.method, "setting": each.setting}
            row |= line_measures(line, each.threshold)
            yield row | ({"ms_per_picture": round(each.ms_per_picture, 2)} if line.name == ALL else {})
