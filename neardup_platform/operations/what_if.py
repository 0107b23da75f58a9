"""A what-if as an operation: the answer, its report, and what is kept of it for the promotion of its classifier."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from neardup_platform.client import Client
from neardup_platform.errors import NeardupError, NotFound
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.what_if.html_report import write_report
from neardup_platform.what_if.httpx_pictures import fetch_pictures
from neardup_platform.what_if.question import Question
from neardup_platform.what_if.s3_what_ifs import put_what_if
from neardup_platform.what_if.what_if import Report, what_if


def answer_what_if(
    settings: Settings, question: Question, now: datetime, report: Report = lambda _: None, out: Path | None = None
) -> dict[str, Any]:
    """Answers a question; the platform stays as it is.

    Args:
        settings: resolved.
        question: what to try.
        now: with time zone.
        report: called with what is being done.
        out: HTML file to write; None writes none.

    Returns:
        The answer by name, with links to the explorer in its examples; `kept` is where that about a classifier is.

    Raises:
        NeardupError: as of `what_if.what_if`; or the file or S3 cannot be written.
    """
    answer = what_if(settings, question, report).flat()
    labels = _labels(settings, answer["examples"])
    for example in answer["examples"]:
        example["page"] = settings.api.image_page(example["image_id"])
        for side in ("before", "after"):
            example[f"labels_{side}"] = labels.get(example[side], "")
    if question.classifier:
        answer["kept"] = put_what_if(open_s3(settings.s3), settings.s3, answer, int(now.timestamp() * 1_000))
    if out is not None:
        write_report(settings, answer, pictures_of(settings, answer), out)
        answer["report"] = str(out)
    return answer


def _labels(settings: Settings, examples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The labels of the clusters of examples in words, by head, as the API has them; none if it does not answer."""
    labels: dict[str, str] = {}
    with suppress(NeardupError), Client.from_settings(settings, attempts=1) as api:
        for head in dict.fromkeys(example[side] for example in examples for side in ("before", "after")):
            with suppress(NotFound):
                found = api.lookup(head).labels
                labels[head] = ", ".join(f"{each.bank} ({each.policy}, {each.action})" for each in found)
    return labels


def pictures_of(settings: Settings, answer: dict[str, Any]) -> dict[str, str]:
    """The pictures of the examples as data URIs, by image id; those that the API serves."""
    return fetch_pictures(settings, (each[name] for each in answer["examples"] for name in ("image_id", "other_id")))
