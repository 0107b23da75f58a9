"""Whether every image that was announced in an hour was decided, refused with a reason, or is known; and how soon.

Logs of the hour and those around it → fates of its images → **unexplained ones looked up by the API** → verdicts
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from neardup_platform.client import Client
from neardup_platform.client.answers import Shadow
from neardup_platform.errors import NeardupError, NotFound
from neardup_platform.hourly_quality.chance import surely_above
from neardup_platform.hourly_quality.duckdb_coverage import COLUMNS, LOGS, Fates, read_fates
from neardup_platform.hourly_quality.verdicts import Verdict
from neardup_platform.settings import QualitySettings, Settings
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.topic_log import TopicLog

_HOUR = timedelta(hours=1)
# An image that arrived so recently may not be decided yet.
_GRACE = timedelta(minutes=1)
_SHOWN_IDS = 10


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of the images of an hour.

    Attributes:
        hour: its start.
        until: images that arrived from then on are not counted: those of the last minute, if the next hour is not
            materialised.
        known: unexplained images that are stored: they had been decided earlier, and were announced again.
        lost: unexplained images that are not stored, at most ten of them listed in `lost_ids`.
        unverified: unexplained images that could not be looked up.
        in_shadow: whether decisions of the hour were withheld, so that its images are unexplained by plan. A random
            sample of them is looked up, and the others are not judged.
    """

    hour: datetime
    until: datetime
    fates: Fates
    known: int
    lost: int
    lost_ids: tuple[str, ...]
    unverified: int
    in_shadow: bool = False

    @property
    def share(self) -> float:
        """Share of the images that were announced completely and are decided or known; 1 if there were none."""
        complete = self.fates.decided + self.fates.unexplained
        return 1.0 - self.lost / complete if complete else 1.0


def measure_coverage(settings: Settings, s3: Any, hour: datetime, now: datetime) -> Coverage:
    """Follow the images of an hour.

    Args:
        settings: resolved.
        s3: a boto3 client.
        hour: its start, with time zone; its logs must be materialised.
        now: the clock, with time zone.

    Raises:
        NotFound: a log of the hour is not materialised.
        ServerUnavailable: S3 does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="neardup-coverage-") as name:
        folder, files = Path(name), dict[TopicLog, list[Path]]()
        later = True
        for log in LOGS:
            found = fetch_hour(s3, settings.s3.bucket, log, hour, folder, COLUMNS[log])
            if found is None:
                raise NotFound(f"the hour {hour:%Y-%m-%dT%H} of logs/{log.name} is not materialised: materialise it")
            before = fetch_hour(s3, settings.s3.bucket, log, hour - _HOUR, folder, COLUMNS[log])
            after = fetch_hour(s3, settings.s3.bucket, log, hour + _HOUR, folder, COLUMNS[log])
            later = later and after is not None
            files[log] = [*(before or ()), *found, *(after or ())]
        until = min(hour + _HOUR if later else hour + _HOUR - _GRACE, now - _GRACE)
        fates = read_fates(files, _ms(hour), max(_ms(hour), _ms(until)), folder)
    return _looked_up(settings, hour, until, fates)


def _looked_up(settings: Settings, hour: datetime, until: datetime, fates: Fates) -> Coverage:
    """Which of the unexplained images are stored, as the API says."""
    ids, known, in_shadow = fates.unexplained_ids, set[str](), False
    try:
        if ids:
            with Client.from_settings(settings) as client:
                known = set(client.lookup_many(ids))
                in_shadow = _in_shadow(client.status().shadows, _ms(hour), _ms(until))
    except (NeardupError, OSError):
        return Coverage(hour, until, fates, 0, 0, (), fates.unexplained)
    lost = [image_id for image_id in ids if image_id not in known]
    rest = 0 if in_shadow else fates.unexplained - len(ids)
    return Coverage(hour, until, fates, len(known), len(lost), tuple(lost[:_SHOWN_IDS]), rest, in_shadow)


def _in_shadow(shadows: Sequence[Shadow], begin_ms: int, end_ms: int) -> bool:
    return any(each.since_ms < end_ms and (not each.until_ms or each.until_ms > begin_ms) for each in shadows)


def judge_coverage(found: Coverage, limits: QualitySettings) -> list[Verdict]:
    """The verdicts on an hour, each with the next step."""
    p99_ms = found.fates.latency_ms[2] if found.fates.latency_ms else None
    refused, unpaired = _refused_share(found), _unpaired_share(found)
    return [
        Verdict("every_image_is_decided", _lost(found), severe=True, value=found.lost + found.unverified, limit=0),
        Verdict("decisions_are_prompt", _late(found, limits), value=p99_ms, limit=limits.max_p99_ms),
        Verdict("few_are_refused", _refused(found, limits), value=refused, limit=limits.max_refused),
        Verdict("both_embeddings_arrive", _unpaired(found, limits), value=unpaired, limit=limits.max_unpaired),
    ]


def _lost(found: Coverage) -> str | None:
    if found.unverified:
        return (
            f"{found.unverified:,} images have no decision in these hours, and could not be looked up: start the API, "
            "then materialise this hour again"
        )
    if not found.lost:
        return None
    more = found.lost - len(found.lost_ids)
    return (
        f"{found.lost:,} images were announced with both embeddings and are not decided: "
        f"{', '.join(found.lost_ids)}{f' and {more:,} more' if more else ''}. See whether the worker lags "
        "(`neardup status`); if it does not, publish them again, and keep the worker's log"
    )


def _late(found: Coverage, limits: QualitySettings) -> str | None:
    if not found.fates.latency_ms:
        return None
    sure_ms = found.fates.p99_least_ms
    if (found.fates.latency_ms[2] if sure_ms is None else sure_ms) <= limits.max_p99_ms:
        return None
    half, _, most, worst = found.fates.latency_ms
    return (
        f"one image in a hundred waited {most:,.0f} ms or more for its decision (half of them {half:,.0f}, the longest "
        f"{worst:,.0f}), at most {limits.max_p99_ms:,.0f} are wanted: see docs/tasks/lag-grows.md"
    )


def _refused(found: Coverage, limits: QualitySettings) -> str | None:
    share = _refused_share(found)
    if not surely_above(found.fates.refused, found.fates.announced, limits.max_refused):
        return None
    return (
        f"{found.fates.refused:,} of {found.fates.announced:,} images were refused ({share:.2%}, at most "
        f"{limits.max_refused:.2%} are expected): `neardup dead-letter list` says why; correct the producer, then run "
        "the job replay_dead_letters"
    )


def _unpaired(found: Coverage, limits: QualitySettings) -> str | None:
    fates, share = found.fates, _unpaired_share(found)
    if not surely_above(fates.expired + fates.incomplete, fates.announced, limits.max_unpaired):
        return None
    fewer = "lsh" if fates.lsh < fates.pair else "pair"
    return (
        f"of {fates.announced:,} images, {fates.expired:,} lost an embedding to expiry and {fates.incomplete:,} still "
        f"wait for one ({share:.2%}, at most {limits.max_unpaired:.2%} are expected); {fates.lsh:,} lsh and "
        f"{fates.pair:,} pair embeddings were announced: see whether the producer of {fewer} runs, then publish what "
        "is missing again"
    )


def _refused_share(found: Coverage) -> float:
    return _share(found.fates.refused, found.fates.announced)


def _unpaired_share(found: Coverage) -> float:
    return _share(found.fates.expired + found.fates.incomplete, found.fates.announced)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1_000)
