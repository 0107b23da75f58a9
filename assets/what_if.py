"""The asset `quality/what_if`: what other thresholds or another classifier would have decided on past traffic.

logs/decisions → **quality/what_if** → the page of the asset; promoted_classifier shows the newest of its classifier.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from assets.decisions_log import decisions_log
from assets.markdown_pictures import gallery, picture
from assets.table_metadata import ROWS, URI, number, table
from neardup_platform.errors import PermanentError, SetupError
from neardup_platform.settings import Settings
from resources.code_references import code_reference
from resources.platform import PlatformResource

_NUMBERS = (
    *("images", "joined", "founded", "moved", "clusters_before", "clusters", "split", "merged", "reproduced"),
    *("labelled_pairs", "precision", "recall", "rescored_images", "rescored_pairs", "left_out"),
)
_EXAMPLE, _LABELS = ("change", "image_id", "score", "before", "after"), ("labels_before", "labels_after")
_ROW = ("match", "head", "joined", "founded", "moved", "clusters", "split", "merged")


class WhatIfConfig(dg.Config):
    """What to try, on which hours."""

    match: float | None = Field(None, gt=0, lt=1, description="Match threshold, the same for every image. `0.9`")
    head: float | None = Field(None, gt=0, lt=1, description="Threshold against the head, likewise. `0.5`")
    classifier: str = Field(
        "", max_length=12, description="Version of a classifier to score the recorded candidates with: 12 hex digits."
    )
    hours: str = Field(
        "",
        max_length=80,
        description="FROM..TO in UTC, TO exclusive, as `2026-01-31T12..2026-02-01T00`; empty for the last 24 hours.",
    )
    most_pairs: int = Field(
        200_000, ge=1, le=5_000_000, description="With a classifier: candidates to score, of the newest images first."
    )
    terms: str = Field("", max_length=80, description="Refused with the reason: records cannot tell what terms find.")


@dg.asset(
    key=["quality", "what_if"],
    pool="batch",
    group_name="quality",
    kinds={"duckdb", "matplotlib"},
    owners=["team:models"],
    tags={"neardup/kind": "quality"},
    metadata=code_reference(__file__),
    deps=[decisions_log],
    description="What a match threshold, a head threshold or a classifier would have decided on the traffic of chosen "
    "hours, against what was decided: images that would be elsewhere, clusters split and merged, plotted over "
    "thresholds, with examples. Changes nothing.",
)
def what_if(
    context: dg.AssetExecutionContext, config: WhatIfConfig, platform: PlatformResource
) -> dg.MaterializeResult[None]:
    """Answer one question."""
    from neardup_platform.operations.what_if import answer_what_if, pictures_of
    from neardup_platform.what_if.hours import parse_hours
    from neardup_platform.what_if.question import Question

    settings, now = platform.settings(), datetime.now(UTC)
    try:
        hours = parse_hours(config.hours, now)
        asked = Question(hours, config.match, config.head, config.classifier, config.terms, config.most_pairs)
        answer = answer_what_if(settings, asked, now, context.log.info)
    except (PermanentError, SetupError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return dg.MaterializeResult(metadata=metadata(settings, answer, pictures_of(settings, answer)))


def metadata(settings: Settings, answer: dict[str, Any], pictures: dict[str, str]) -> dict[str, Any]:
    """Dagster metadata and plots of an answer."""
    from neardup_platform.what_if.in_words import changes_in_words, tried_in_words

    shown: dict[str, Any] = {
        # Of the decisions that were replayed, one for each image.
        ROWS: answer["images"],
        "tried": dg.MetadataValue.text(tried_in_words(answer)),
        "changes": dg.MetadataValue.text(changes_in_words(answer)),
        **{name: _shown(answer[name]) for name in _NUMBERS if answer[name] is not None},
        "by_threshold": table(answer["by_threshold"], _ROW),
        "over_thresholds": picture("changes over thresholds", partial(_draw, "draw_changes", answer)),
        "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in answer["notes"])),
    }
    if "kept" in answer:
        shown[URI] = answer["kept"]
    if answer["labelled_pairs"]:
        shown["labels"] = picture("labelled pairs over thresholds", partial(_draw, "draw_labels", answer))
    if answer["examples"]:
        labelled = [name for name in _LABELS if any(each.get(name) for each in answer["examples"])]
        shown["examples"] = table(answer["examples"], (*_EXAMPLE, *labelled))
        pairs = [(each["change"], each["score"], each["image_id"], each["other_id"]) for each in answer["examples"]]
        shown["pictures"] = gallery(("change", "score", "image", "candidate"), pairs, pictures, settings.api.image_page)
    return shown


def _draw(name: str, answer: dict[str, Any]) -> bytes:
    from neardup_platform.what_if import matplotlib_thresholds

    return bytes(getattr(matplotlib_thresholds, name)(answer["by_threshold"], tried=answer["match"]))


def _shown(value: float) -> Any:
    return number(value) if isinstance(value, float) else value
