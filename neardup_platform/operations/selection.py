"""Which images to decide again: chosen from the store, from the decisions log, or by id, and put on S3 for the worker.

Ids, a cluster, a query or all images → those decided in a time or by a classifier → **clusters together** → S3
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from neardup_platform.errors import BadCommand, BadMessage, NotFound
from neardup_platform.operations.sampling import sample_clusters
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.view import StoreView
from neardup_platform.stream.redecide.s3_selections import MAX_IMAGES, check_number, put_selection
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.validation import checked_id

# Hours of the log that a query reads, at most.
MAX_HOURS = 31 * 24
_HOUR = timedelta(hours=1)
_CHUNK = 4_096

Known = tuple[str, store_pb.ImageRecord]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images. At most one of the first three, or a sample; without one, all images. The others narrow it down.

    Attributes:
        image_ids: these.
        cluster: the members of the cluster of this image.
        query: those that a query over the decisions log returns; `since` and `until` choose the hours that it reads.
        since_ms: those decided at or after this time, Unix milliseconds.
        until_ms: those decided before this time.
        decided_by: those decided by this version of the classifier.
        sample: instead, about this many, in whole clusters that stand for all of them; 0 for no sample.
    """

    image_ids: Sequence[str] = ()
    cluster: str | None = None
    query: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    decided_by: str | None = None
    sample: int = 0

    def check(self) -> None:
        """Check that it chooses something.

        Raises:
            BadCommand: it does not, or it contradicts itself.
        """
        sources = [bool(self.image_ids), self.cluster is not None, self.query is not None, bool(self.sample)]
        if sum(sources) > 1:
            raise BadCommand("choose images by id, by cluster, by query or as a sample, not by several of them")
        if not (self.narrows or any(sources)):
            raise BadCommand("no image is chosen: give ids, a cluster, a query, a time or a classifier")
        if self.since_ms is not None and self.until_ms is not None and self.since_ms >= self.until_ms:
            raise BadCommand("the time range is empty: `until` must be later than `since`")
        if self.query is not None and (self.since_ms is None or self.until_ms is None):
            raise BadCommand("a query needs the hours that it reads: give `since` and `until`")

    @property
    def narrows(self) -> bool:
        """Whether the records of images must be read; of a query, the time chooses hours of the log instead."""
        times = (None, None) if self.query is not None else (self.since_ms, self.until_ms)
        return (*times, self.decided_by) != (None, None, None)


def read_ids(file: Path) -> list[str]:
    """Read image ids from a text file, one on each line; blank lines do not count.

    Raises:
        BadCommand: there are too many, or a line is no id; the text names it.
    """
    ids: list[str] = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if text := line.strip("\r\n"):
                    ids.append(_checked(text, f"{file}, line {number}"))
                    check_number(len(ids))
    except UnicodeDecodeError as error:
        raise BadCommand(f"{file} is not UTF-8: {error}") from error
    return ids


def select(settings: Settings, wanted: Wanted) -> tuple[str, int]:
    """Choose images and put the list on S3; returns its key, and how many they are.

    The members of a cluster follow one another, its head first, so that they are decided again together.

    Args:
        settings: resolved.

    Raises:
        NothingSelected: none is chosen.
        BadCommand: too many are chosen, or the query is not one that only reads.
        NotFound: there is no such cluster, or an hour that a query reads is not materialised.
        ServerUnavailable: there is no store here, or S3 does not answer.
    """
    wanted.check()
    ids = chosen(settings, wanted)
    return put_selection(open_s3(settings.s3), settings.s3.bucket, ids), len(ids)


def chosen(settings: Settings, wanted: Wanted) -> list[str]:
    """The ids that are wanted; arguments and errors as of `select`."""
    given: Sequence[str] | None = [_checked(image_id, "the ids") for image_id in wanted.image_ids] or None
    if wanted.query is not None:
        given = _queried(settings, wanted)
    if not (settings.store_path / "CURRENT").exists() and given is not None and not wanted.narrows:
        return list(dict.fromkeys(given))
    with _following(settings) as store:
        if wanted.cluster is not None:
            given = _members(store, wanted.cluster)
        if wanted.sample:
            given = _sampled(store, wanted.sample)
        known = store.images.all() if given is None else _found(store, given)
        rows = [
            (record.head, record.head != image_id, record.ordinal, image_id)
            for image_id, record in islice(_narrowed(store, known, wanted), MAX_IMAGES + 1)
        ]
        if given and not rows:
            raise NotFound(
                f"none of the {len(given)} images is decided and within the time and classifier given: {given[0]!r}…"
            )
        check_number(len(rows))
        unknown = [] if given is None or wanted.narrows else _unknown(given, rows)
    rows.sort()
    return [row[-1] for row in rows] + unknown


@contextmanager
def _following(settings: Settings) -> Iterator[StoreView]:
    with (
        tempfile.TemporaryDirectory(prefix="neardup-selection-") as scratch,
        closing(SecondaryStore(settings.store_path, Path(scratch))) as store,
    ):
        yield store


def _members(store: StoreView, image_id: str) -> list[str]:
    """The members of the cluster of an image, or of a previous head."""
    record = store.images.find(image_id)
    head = store.redirects.resolve(image_id) if record is None else record.head
    if not store.clusters.exists(head):
        raise NotFound(f"{image_id!r} is in no cluster: it has not been decided, or was forgotten")
    return [member for _, member in islice(store.members.all(head), MAX_IMAGES + 1)]


def _sampled(store: StoreView, images: int) -> list[str]:
    """The members of clusters that stand for all of them."""
    heads = sample_clusters(((head, cluster.size) for head, cluster in store.clusters.all()), images)
    members = (member for head in sorted(heads) for _, member in store.members.all(head))
    return list(islice(members, images))


def _found(store: StoreView, image_ids: Iterable[str]) -> Iterator[Known]:
    unique = iter(dict.fromkeys(image_ids))
    while part := list(islice(unique, _CHUNK)):
        for image_id, record in zip(part, store.images.find_many(part), strict=True):
            if record is not None:
                yield image_id, record


def _unknown(given: Iterable[str], rows: Iterable[tuple[str, bool, int, str]]) -> list[str]:
    """Ids that the worker counts as unknown, unless they are decided by then."""
    known = {row[-1] for row in rows}
    return [image_id for image_id in dict.fromkeys(given) if image_id not in known]


def _narrowed(store: StoreView, known: Iterable[Known], wanted: Wanted) -> Iterator[Known]:
    since_ms, until_ms = wanted.since_ms, wanted.until_ms
    if wanted.query is None:
        known = (
            each
            for each in known
            if (since_ms is None or each[1].decided_ms >= since_ms)
            and (until_ms is None or each[1].decided_ms < until_ms)
        )
    if wanted.decided_by is None:
        yield from known
        return
    images = iter(known)
    while part := list(islice(images, _CHUNK)):
        decisions = store.history.at_many([(image_id, record.sequence) for image_id, record in part])
        for each, decision in zip(part, decisions, strict=True):
            if decision is not None and decode_decision(decision).classifier_version == wanted.decided_by:
                yield each


def _queried(settings: Settings, wanted: Wanted) -> list[str]:
    """What the query returns, over the materialised hours of its time."""
    # DuckDB takes a while to import, and only queries need it.
    from neardup_platform.decisions_log.duckdb_selection import check_query, selected_ids
    from neardup_platform.topic_logs.s3_hours import fetch_hour
    from neardup_platform.topic_logs.topic_log import DECISIONS

    query = check_query(wanted.query or "")
    s3, bucket, hours = open_s3(settings.s3), settings.s3.bucket, _hours(wanted)
    with tempfile.TemporaryDirectory(prefix="neardup-query-") as folder:
        files: list[Path] = []
        for hour in hours:
            found = fetch_hour(s3, bucket, DECISIONS, hour, Path(folder))
            if found is None:
                raise NotFound(
                    f"the hour {hour:%Y-%m-%dT%H} of logs/decisions is not materialised: materialise it in Dagster, or "
                    "choose other hours"
                )
            files += found
        return selected_ids(files, query, MAX_IMAGES)


def _hours(wanted: Wanted) -> list[datetime]:
    since_ms, until_ms = wanted.since_ms or 0, wanted.until_ms or 0
    hour = datetime.fromtimestamp(since_ms / 1_000, UTC).replace(minute=0, second=0, microsecond=0)
    number = -(-(until_ms - int(hour.timestamp() * 1_000)) // 3_600_000)
    if number > MAX_HOURS:
        raise BadCommand(f"the query would read {number} hours, at most {MAX_HOURS} are allowed: choose fewer")
    return [hour + n * _HOUR for n in range(number)]


def _checked(image_id: str, place: str) -> str:
    try:
        return checked_id(image_id)
    except BadMessage as error:
        raise BadCommand(f"{place}: {error}") from error
