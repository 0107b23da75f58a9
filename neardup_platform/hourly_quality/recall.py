"""Whether the stream finds what there is to find, and would decide the same again: a sample of the hour.

Logs of the hour → sample and its nearest neighbours by exhaustive search → **pairs that no decision records are scored
by the API; the sampled images are decided again by it** → verdicts
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from neardup_platform.client import Client
from neardup_platform.clock import Clock
from neardup_platform.errors import NeardupError, NotFound
from neardup_platform.hourly_quality.chance import surely_above
from neardup_platform.hourly_quality.duckdb_sample import Near, Record, Sample, read_sample
from neardup_platform.hourly_quality.verdicts import Verdict
from neardup_platform.settings import QualitySettings, Settings
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS, TopicLog

# Pairs of one cluster are missed together, so that a few of them say less than they seem to.
LEAST = 20
# Pairs scored for each sampled image, on average; the nearest ones.
_SCORED_PAIRS = 2
# Questions to the API end after this long; what was asked until then counts.
_MOST_S = 60.0
_TIMEOUT_S = 10.0
_SHOWN = 5


class MissedPair(NamedTuple):
    """A matching pair, of which the decision about the later image names neither the earlier one nor its cluster."""

    earlier: str
    later: str
    score: float


class Disagreement(NamedTuple):
    """An image that would be elsewhere if it were decided now."""

    image_id: str
    head: str
    score: float
    head_now: str
    score_now: float


@dataclass(frozen=True, slots=True)
class Recall:
    """What a sample of the decisions of an hour shows.

    Attributes:
        searched: images decided in the hour: near pairs are looked for among them alone.
        sampled: images.
        pairs: pairs of a sampled image and one of its nearest.
        recorded: of them, those that the decision about the later image records.
        matches: of those, the ones that match.
        cluster_found: of the others, those whose later image found another image of the earlier one's cluster.
        scored: of the rest, those that were scored by the API.
        missed: of those, the ones that match, and whose images are in different clusters.
        decided_again: sampled images.
        disagreements: of them, those that would be elsewhere now.
        unmeasured: why something was not measured; empty if all was.
    """

    hour: datetime
    searched: int = 0
    sampled: int = 0
    pairs: int = 0
    recorded: int = 0
    matches: int = 0
    cluster_found: int = 0
    scored: int = 0
    missed: tuple[MissedPair, ...] = ()
    decided_again: int = 0
    disagreements: tuple[Disagreement, ...] = ()
    unmeasured: str = ""

    @property
    def recall(self) -> float | None:
        """The share of matching pairs that were found; None without any."""
        known = self.matches + len(self.missed)
        return self.matches / known if known else None

    @property
    def agreement(self) -> float | None:
        """The share of images that would be decided the same again; None without any."""
        return 1 - len(self.disagreements) / self.decided_again if self.decided_again else None


def measure_recall(settings: Settings, s3: Any, hour: datetime, clock: Clock) -> Recall:
    """Check a sample of `quality.sample` decisions of an hour.

    Args:
        settings: resolved.
        s3: a boto3 client.
        hour: its start, with time zone; its logs must be materialised.
        clock: bounds the time.

    Raises:
        NotFound: a log of the hour is not materialised.
        ServerUnavailable: S3 does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="neardup-recall-") as name:
        folder, files = Path(name), dict[TopicLog, list[Path]]()
        for log in (DECISIONS, LSH_EMBEDDINGS):
            found = fetch_hour(s3, settings.s3.bucket, log, hour, folder)
            if found is None:
                raise NotFound(f"the hour {hour:%Y-%m-%dT%H} of logs/{log.name} is not materialised: materialise it")
            files[log] = found
        space = load_term_space(settings.terms.space)
        sample = read_sample(files[DECISIONS], files[LSH_EMBEDDINGS], space, settings.quality.sample, folder)
    until_s = clock.monotonic_s() + _MOST_S
    return ask(settings, hour, sample, lambda: clock.monotonic_s() < until_s)


class Records(NamedTuple):
    """What the decisions say about near pairs; see `Recall`."""

    recorded: int
    matches: int
    cluster_found: int
    others: list[Near]


def look_up(sample: Sample) -> Records:
    """Look the near pairs up in the decisions about their later images."""
    recorded = matches = clusters = 0
    others = []
    for pair in sample.near:
        earlier, later = sample.records[pair.earlier], sample.records[pair.later]
        score = later.candidates.get(earlier.image_id)
        if score is not None:
            recorded += 1
            matches += score >= later.threshold
        elif earlier.head in later.heads:
            clusters += 1
        else:
            others.append(pair)
    return Records(recorded, matches, clusters, others)


def ask(settings: Settings, hour: datetime, sample: Sample, has_time: Callable[[], bool]) -> Recall:
    """Ask the API about the pairs without a record, and about the sampled images."""
    found = look_up(sample)
    chosen = found.others[: _SCORED_PAIRS * len(sample.sampled)]
    records = [record for each in sample.sampled if not (record := sample.records[each]).pinned]
    scored, again, why = 0, 0, ""
    missed: list[MissedPair] = []
    differing: list[Disagreement] = []
    try:
        if sample.sampled:
            with Client.from_settings(settings, timeout_s=_TIMEOUT_S) as client:
                scored, missed = _missed(client, chosen, has_time)
                again, differing = _decided_again(client, records, has_time)
    except (NeardupError, OSError) as error:
        why = str(error)
    return Recall(
        hour,
        searched=sample.searched,
        sampled=len(sample.sampled),
        pairs=len(sample.near),
        recorded=found.recorded,
        matches=found.matches,
        cluster_found=found.cluster_found,
        scored=scored,
        missed=tuple(missed),
        decided_again=again,
        disagreements=tuple(differing),
        unmeasured=why,
    )


def _missed(client: Client, pairs: Iterable[Near], has_time: Callable[[], bool]) -> tuple[int, list[MissedPair]]:
    """How many pairs were scored, and those that match and are in different clusters."""
    scored, found = 0, []
    for pair in pairs:
        if not has_time():
            break
        try:
            answer = client.compare(pair.earlier, pair.later)
        except NotFound:
            continue
        scored += 1
        if answer.match:
            found.append(MissedPair(pair.earlier, pair.later, answer.score))
    heads = client.lookup_many([image_id for pair in found for image_id in pair[:2]])
    return scored, [pair for pair in found if heads.get(pair.earlier) != heads.get(pair.later)]


def _decided_again(
    client: Client, records: Iterable[Record], has_time: Callable[[], bool]
) -> tuple[int, list[Disagreement]]:
    """How many images were decided again, and those that would be elsewhere."""
    found = []
    for record in records:
        if not has_time():
            break
        try:
            answer = client.search(image_id=record.image_id)
        except NotFound:
            continue
        found.append(
            Disagreement(record.image_id, record.head, record.score, answer.cluster or record.image_id, answer.score)
        )
    # A cluster may have another head by now, or an operator has moved the image.
    present = client.lookup_many([each.image_id for each in found])
    return len(found), [each for each in found if each.head_now not in (each.head, present.get(each.image_id))]


def judge_recall(found: Recall, limits: QualitySettings) -> list[Verdict]:
    """The verdicts on an hour, each with the next step."""
    return [
        _judged(
            "matches_are_found", found, found.recall, found.matches + len(found.missed), limits.min_recall, _MISSED
        ),
        _judged("decisions_are_repeatable", found, found.agreement, found.decided_again, limits.min_agreement, _OTHERS),
    ]


_MISSED = (
    "{bad} of {of} matching pairs among the images of this hour were not found ({share:.1%}, at least {limit:.1%} are "
    "expected): {shown}. If the term index is whole (`neardup doctor`), raise terms.shortlist and terms.scan_images, "
    "or fit the terms to these pictures (asset term_space); then run the job reprocess_hour"
)
_OTHERS = (
    "{bad} of {of} images would be elsewhere if they were decided now ({share:.1%} would be where they are, at least "
    "{limit:.1%} are expected): {shown}. After a promotion that is as expected; the job reprocess_hour decides the "
    "hour again"
)


def _judged(name: str, found: Recall, share: float | None, of: int, limit: float, text: str) -> Verdict:
    if found.unmeasured:
        why = f"not measured: {found.unmeasured}. Start the API (`neardup up`), then materialise this hour again"
        return Verdict(name, why)
    if share is None or of < LEAST:
        return Verdict(name, None, good=f"too little to judge: {of} in the sample of this hour, {LEAST} are needed")
    bad: tuple[MissedPair, ...] | tuple[Disagreement, ...]
    bad = found.missed if name == "matches_are_found" else found.disagreements
    if not surely_above(len(bad), of, 1 - limit):
        return Verdict(name, None, value=share, limit=limit)
    more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    shown = ", ".join(_shown(each) for each in bad[:_SHOWN]) + more
    problem = text.format(bad=f"{len(bad):,}", of=f"{of:,}", share=share, limit=limit, shown=shown)
    return Verdict(name, problem, value=share, limit=limit)


def _shown(each: MissedPair | Disagreement) -> str:
    if isinstance(each, MissedPair):
        return f"{each.earlier} and {each.later} ({each.score:.3f})"
    return f"{each.image_id} from {each.head} ({each.score:.3f}) to {each.head_now} ({each.score_now:.3f})"
