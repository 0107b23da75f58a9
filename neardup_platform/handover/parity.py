"""Whether the other pipeline's clusters and ours agree enough to cut over: measured by hour, judged over hours.

Files of the other pipeline on S3 → rows → **our heads by the API** → agreement, coverage, disagreements → verdict
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from neardup_platform.client import Client
from neardup_platform.errors import NotFound
from neardup_platform.handover.agreement import Agreement
from neardup_platform.handover.comparison import compare
from neardup_platform.handover.disagreements import MOST_SHOWN, Disagreement
from neardup_platform.handover.parquet_rows import OtherHour, read_rows
from neardup_platform.handover.s3_other import fetch_other, place_of
from neardup_platform.hourly_quality.verdicts import Verdict
from neardup_platform.settings import HandoverSettings, Settings
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.topic_log import LSH_EMBEDDINGS

# As many as one command publishes.
MOST_LISTED = 1_000_000
_SHOWN_BAD = 10

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Parity:
    """One hour, or several together.

    Attributes:
        hours: that the other pipeline wrote.
        empty_hours: asked for, without any file.
        files, rows: of the other pipeline.
        repeated: rows about an image that has another row in its hour.
        bad: rows that are not used, by reason.
        bad_examples: at most ten of them: file, row, reason.
        images: of the other pipeline, those of each hour.
        decided: of them, those that are decided here.
        agreement: of the clusters of these.
        disagreements: at most 50, the largest first.
        heads_differ: images whose head here has another id.
        other_heads: of these, at most `MOST_LISTED`.
        announced: images whose `lsh` embedding arrived here in these hours; None where that log is not materialised.
        announced_only: of them, those that are not in the other's output of the hour.
    """

    hours: tuple[datetime, ...]
    empty_hours: tuple[datetime, ...]
    files: int
    rows: int
    repeated: int
    bad: Mapping[str, int]
    bad_examples: tuple[Mapping[str, str | int], ...]
    images: int
    decided: int
    agreement: Agreement
    disagreements: tuple[Disagreement, ...]
    heads_differ: int
    other_heads: tuple[str, ...]
    announced: int | None
    announced_only: int | None

    @property
    def bad_rows(self) -> int:
        """Rows that are not used."""
        return sum(self.bad.values())

    @property
    def coverage(self) -> float:
        """Share of the other's images that are decided here, 0 to 1; a bad row counts as one that is not."""
        wanted = self.images + self.bad_rows
        return self.decided / wanted if wanted else 0.0

    def flat(self) -> dict[str, Any]:
        """The numbers by name, for people and JSON; a measure that has no denominator is None."""
        found = self.agreement
        return {
            "hours": [f"{hour:%Y-%m-%dT%H}" for hour in self.hours],
            "empty_hours": [f"{hour:%Y-%m-%dT%H}" for hour in self.empty_hours],
            **{name: getattr(self, name) for name in ("files", "rows", "repeated", "bad_rows", "images", "decided")},
            "coverage": self.coverage,
            **{name: getattr(found, name) for name in ("agreement", "bcubed_f1", "pair_precision", "pair_recall")},
            **{name: getattr(found, name) for name in ("pair_f1", "together", "clusters", "identical")},
            **{name: getattr(found, name) for name in ("split", "merged")},
            "other_heads": self.heads_differ,
            "announced": self.announced,
            "announced_only": self.announced_only,
        }


def measure_parity(settings: Settings, s3: Any, hours: Sequence[datetime], report: Report = lambda _: None) -> Parity:
    """Compare some hours of the other pipeline with the clusters as they are here now.

    Args:
        settings: resolved.
        s3: a boto3 client.
        hours: starts of hours with time zone, ascending; those without a file are counted.
        report: called with what is being done.

    Raises:
        NotFound: none of these hours has a file, or one vanished.
        BadArtefact, BadCommand: a file is no Parquet file, lacks a column, or an hour is too large.
        ServerUnavailable: S3 or the API does not answer.
    """
    found: list[Parity] = []
    with tempfile.TemporaryDirectory(prefix="neardup-parity-") as name, Client.from_settings(settings) as api:
        for number, hour in enumerate(hours):
            report(f"comparing {hour:%Y-%m-%dT%H}, hour {number + 1} of {len(hours)}")
            folder = Path(name) / str(number)
            folder.mkdir()
            found.append(_measure_hour(settings, s3, api, hour, folder))
            for file in folder.iterdir():
                file.unlink()
    if not any(each.hours for each in found):
        bucket, prefix = place_of(settings, hours[0])
        raise NotFound(
            f"the other pipeline has written nothing for {_span(hours)}: there is no s3://{bucket}/{prefix}*.parquet. "
            "Check handover.prefix, or wait until it has"
        )
    return reduce(_together, found)


def judge_parity(found: Parity, limits: HandoverSettings) -> list[Verdict]:
    """The verdicts on an hour or several: the gate of a cut-over, and whether all rows can be used."""
    return [
        Verdict("ready_to_cut_over", _not_ready(found, limits), value=found.agreement.agreement, limit=None),
        Verdict("other_output_is_good", _bad_rows(found), value=found.bad_rows, limit=0),
    ]


def _not_ready(found: Parity, limits: HandoverSettings) -> str | None:
    agreement, reasons = found.agreement.agreement, list[str]()
    if found.decided < limits.least_images:
        reasons.append(
            f"{found.decided:,} images are compared, at least {limits.least_images:,} are wanted "
            "(handover.least_images): compare more hours"
        )
    if found.coverage < limits.least_coverage:
        reasons.append(
            f"{found.coverage:.2%} of the other's images are decided here, at least {limits.least_coverage:.2%} are "
            "wanted (handover.least_coverage): see whether the worker lags (`neardup status`), whether their "
            "embeddings are published under the same ids, and quality/coverage"
        )
    if agreement is None or agreement < limits.least_agreement:
        said = "nothing is put together by either" if agreement is None else f"clusters agree by {agreement:.3f}"
        reasons.append(
            f"{said}, at least {limits.least_agreement:.3f} is wanted (handover.least_agreement): look at the "
            "disagreements; where ours is wrong, correct the cluster (`neardup override`) or try another threshold "
            "(`neardup what-if`); where the other is wrong, take that into account in the setting"
        )
    return "; ".join(reasons) or None


def _bad_rows(found: Parity) -> str | None:
    if not found.bad_rows:
        return None
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.bad.items()))
    first = found.bad_examples[0]
    return (
        f"{found.bad_rows:,} of {found.rows:,} rows of the other pipeline are not used: {counts}; the first is row "
        f"{first['row']} of {first['file']}: {first['reason']}. Correct them there, then compare again"
    )


def _measure_hour(settings: Settings, s3: Any, api: Client, hour: datetime, folder: Path) -> Parity:
    files = fetch_other(settings, s3, hour, folder)
    other = read_rows(files)
    ours = api.lookup_many(dict.fromkeys((*other.heads, *other.heads.values()))) if other.heads else {}
    compared = compare(other.heads, ours)
    announced = _announced(s3, settings.s3.bucket, hour, folder) if files else None
    return Parity(
        hours=(hour,) if files else (),
        empty_hours=() if files else (hour,),
        files=len(files),
        rows=other.rows,
        repeated=other.repeated,
        bad=dict(other.bad),
        bad_examples=tuple(other.bad_examples),
        images=len(other.heads),
        decided=compared.agreement.images,
        agreement=compared.agreement,
        disagreements=compared.disagreements,
        heads_differ=len(compared.other_heads),
        other_heads=compared.other_heads[:MOST_LISTED],
        announced=None if announced is None else len(announced),
        announced_only=None if announced is None else _missing(announced, other),
    )


def _announced(s3: Any, bucket: str, hour: datetime, folder: Path) -> set[str] | None:
    """The images whose `lsh` embedding arrived in an hour; None where that is not materialised."""
    files = fetch_hour(s3, bucket, LSH_EMBEDDINGS, hour, folder)
    if files is None:
        return None
    columns = (pq.read_table(file, columns=["image_id"])["image_id"].drop_null().to_pylist() for file in files)
    return {image_id for column in columns for image_id in column}


def _missing(announced: set[str], other: OtherHour) -> int:
    return len(announced - other.heads.keys())


def _together(one: Parity, other: Parity) -> Parity:
    ranked = sorted((*one.disagreements, *other.disagreements), key=lambda each: -each.pairs)
    return Parity(
        hours=one.hours + other.hours,
        empty_hours=one.empty_hours + other.empty_hours,
        files=one.files + other.files,
        rows=one.rows + other.rows,
        repeated=one.repeated + other.repeated,
        bad=dict(Counter(one.bad) + Counter(other.bad)),
        bad_examples=(one.bad_examples + other.bad_examples)[:_SHOWN_BAD],
        images=one.images + other.images,
        decided=one.decided + other.decided,
        agreement=one.agreement + other.agreement,
        disagreements=tuple(ranked[:MOST_SHOWN]),
        heads_differ=one.heads_differ + other.heads_differ,
        other_heads=(one.other_heads + other.other_heads)[:MOST_LISTED],
        announced=_sum(one.announced, other.announced),
        announced_only=_sum(one.announced_only, other.announced_only),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def _span(hours: Sequence[datetime]) -> str:
    first, last = hours[0], hours[-1]
    return f"{first:%Y-%m-%dT%H}" if first == last else f"{first:%Y-%m-%dT%H} to {last:%Y-%m-%dT%H}"
