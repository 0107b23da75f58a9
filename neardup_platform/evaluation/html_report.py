"""The report of an evaluation as a single HTML file: metrics, plots and the worst errors as pictures.

Evaluation → **report.html**, which is self-contained: styles, plots and thumbnails are embedded. File names come from
the people who collected the pictures, so everything is escaped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from PIL import Image

from neardup_platform.errors import SetupError
from neardup_platform.evaluation.feature_evidence import Evidence, evidence_of
from neardup_platform.evaluation.jinja_reports import report_environment
from neardup_platform.evaluation.matplotlib_growth import nines
from neardup_platform.evaluation.outcome import Evaluation, outcome
from neardup_platform.evaluation.pair_overlaps import overlaps_of
from neardup_platform.evaluation.picture_sheet import THUMBNAIL_PX, caption, jpeg, outlined, thumbnail
from neardup_platform.evaluation.report_plots import data_uri, plots_by_size, plots_of_scores
from neardup_platform.evaluation.worst_pairs import (
    EvaluatedPair,
    MixedCluster,
    mixed_clusters,
    worst_false_positives,
    worst_misses,
)
from neardup_platform.scoring.features import Block
from neardup_platform.settings import ImageSettings
from neardup_platform.structure.overlap import Outline, Overlap, Relation

REPORT_FILE = "report.html"
_TEMPLATE = "report.html.jinja"
_MOST_CLUSTERS, _MOST_IN_CLUSTER, _MOST_REFUSED = 10, 12, 40
_STRIP_PX = 104
_RELATIONS = {
    Relation.EQUAL_EXTENT: "show the same part",
    Relation.A_INSIDE_B: "the first lies inside the second",
    Relation.B_INSIDE_A: "the second lies inside the first",
    Relation.OVERLAP: "overlap",
}


def prepare_folder(folder: Path) -> None:
    """Create the folder of a report and test that it is writable, before the evaluation takes hours.

    Raises:
        SetupError: it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT_FILE).touch()
    except OSError as error:
        raise SetupError(f"{folder} cannot be written ({error}): name another folder with --report") from error


def write_report(
    evaluation: Evaluation,
    measured: Mapping[str, Any],
    folder: Path,
    *,
    title: str,
    blocks: Sequence[Block],
    limits: ImageSettings,
) -> Path:
    """Write `report.html`.

    Args:
        evaluation: to report.
        measured: its `metrics`.
        folder: created if it is missing.
        title: name of the manifest.
        blocks: of the `pair` embedder.
        limits: of decoding.

    Returns:
        The file.

    Raises:
        SetupError: the folder is not writable.
    """
    prepare_folder(folder)
    whole, shown = outcome(evaluation), _Pictures(evaluation, limits)
    wrong, missed = worst_false_positives(evaluation), worst_misses(evaluation)
    evidence = evidence_of(evaluation, [*wrong, *missed], blocks)
    cards = list(map(shown.pair, [*wrong, *missed], evidence, overlaps_of(evaluation, [*wrong, *missed], blocks)))
    mixed = mixed_clusters(evaluation)
    page = (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            title=title,
            f=measured,
            plots=list(plots_of_scores(evaluation, whole, measured)),
            plots_by_size=list(plots_by_size(evaluation, whole, measured)),
            subsets=_worst_first(measured["subsets"]),
            false_positives=cards[: len(wrong)],
            misses=cards[len(wrong) :],
            mixed=[shown.cluster(each) for each in mixed[:_MOST_CLUSTERS]],
            thresholds=[
                (run.classifier, run.matching.threshold, run.matching.head_threshold) for run in evaluation.runs
            ],
            refused=[(shown.name(n), why) for n, why in list(evaluation.embedded.refused.items())[:_MOST_REFUSED]],
            distractors=sum(not row.group for row in evaluation.rows),
            groups=len({row.group for row in evaluation.rows if row.group}),
        )
    )
    path = folder / REPORT_FILE
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path} cannot be written ({error}): name another folder with --report") from error
    return path


class _Pictures:
    """Rows in the form that the template shows; a picture that is shown twice is read once."""

    def __init__(self, evaluation: Evaluation, limits: ImageSettings) -> None:
        self._rows, self._limits = evaluation.rows, limits
        self._thumbnails: dict[tuple[int, int], Image.Image | None] = {}
        # Names are shown relative to the folder that contains them all.
        self._shared = _shared_folder([row.file for row in evaluation.rows])

    def name(self, number: int) -> str:
        return str(self._rows[number].file.relative_to(self._shared))

    def pair(self, pair: EvaluatedPair, evidence: Sequence[Evidence], overlap: Overlap | None) -> dict[str, Any]:
        outlines = (None, None) if overlap is None else (overlap.b_in_a, overlap.a_in_b)
        sides = zip((pair.earlier, pair.later), reversed(pair.heads), outlines, strict=True)
        return {
            "caption": caption(pair),
            "matched": pair.matched,
            "together": pair.together,
            "relation": None if overlap is None else _RELATIONS[overlap.relation],
            "sides": [{**self._side(number, outline), "head": self.name(head)} for number, head, outline in sides],
            "evidence": evidence,
        }

    def cluster(self, cluster: MixedCluster) -> dict[str, Any]:
        """One picture of each group, those of the largest groups first."""
        subsets = Counter(self._rows[number].subset for rows in cluster.groups for number in rows)
        return {
            "head": self.name(cluster.head),
            "groups": len(cluster.groups),
            "size": sum(map(len, cluster.groups)),
            "subsets": [(name, count) for name, count in subsets.most_common() if name],
            "pictures": [
                {"uri": self._uri(rows[0], _STRIP_PX), "name": self.name(rows[0]), "of_group": len(rows)}
                for rows in cluster.groups[:_MOST_IN_CLUSTER]
            ],
        }

    def _side(self, number: int, outline: Outline | None) -> dict[str, Any]:
        row = self._rows[number]
        return {"uri": self._uri(number, THUMBNAIL_PX, outline), "name": self.name(number), "row": row}

    def _uri(self, number: int, side_px: int, outline: Outline | None = None) -> str | None:
        key = number, side_px
        if key not in self._thumbnails:
            self._thumbnails[key] = thumbnail(self._rows[number].file, self._limits, side_px)
        image = self._thumbnails[key]
        if image is None:
            return None
        return data_uri(jpeg(image if outline is None else outlined(image, outline)), "jpeg")


def _worst_first(subsets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Subsets by descending wrong pairs per picture, then by ascending recall."""
    return sorted(subsets.items(), key=lambda named: (-named[1]["wrong_pairs_per_1000"], named[1]["recall"] or 0))


def _shared_folder(files: Sequence[Path]) -> Path:
    shared = files[0].parent
    while not all(file.is_relative_to(shared) for file in files):
        shared = shared.parent
    return shared


def _environment() -> Environment:
    environment = report_environment("neardup_platform.evaluation")
    environment.filters["small"] = lambda value: "–" if value is None else f"{value:.4f}"
    environment.filters["rate"] = lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    environment.filters["nines"] = lambda value: "none" if value is None else nines(value)
    environment.filters["shown"] = lambda value, format_: environment.filters[format_](value)
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    return environment
