"""What a corpus and a rate need: disk, memory, processor time, time to start. Pure.

Every amount follows from a figure that was measured at some size, on two cores of an AMD EPYC; docs/speed.md says how.
Bytes grow with the images, and the cost of a search with a power of their number. An amount for a size beyond the
measured one says that it is extrapolated, and from where.
"""

from dataclasses import dataclass
from math import exp, log

# Corpus sizes at which the figures below were measured; the cost of a search at both.
_SMALL_AT, _MEASURED_AT = 1_000_000, 10_000_000

_STORE_BYTES = 3_696
# Compact rows, of which the first score reads one for every candidate.
_COMPACT_BYTES = 975
_VECTOR_BYTES = 512 + _COMPACT_BYTES
_INDEX_BYTES = 37
_PRIVATE_BYTES = 16
# A worker that decides, whatever its corpus.
_WORKER_BYTES = 450_000_000
# Messages of an image: both embeddings, and a decision with twelve candidates.
_MESSAGE_BYTES = 3_470 + 2 * 111 + 622

_PROCESS_S = 3.0
_OPEN_S = 0.2e-6
_REBUILD_S = 76e-6

# Processor time of the worker for an image in a backlog, without the search, and of a search in micro-batches of 64;
# with cells fitted to the larger corpus.
_OTHER_S = 0.44e-3
_SEARCH_S = {_SMALL_AT: 0.42e-3, _MEASURED_AT: 0.67e-3}
# At 200 images a second two or three share a search and a step, and each costs so many times as much as in a backlog,
# where the worker takes about 1,000 a second with one core.
_ALONE, _ALONE_RATE, _BACKLOG_RATE = 3.5, 200.0, 1_000.0


@dataclass(frozen=True, slots=True)
class Need:
    """One amount.

    Attributes:
        what: the resource.
        amount: in `unit`.
        unit: `bytes`, `cores`, or `s`.
        measured_at: size of the corpus that the figure was measured at.
        extrapolated: whether the asked size is beyond it.
    """

    what: str
    amount: float
    unit: str
    measured_at: int
    extrapolated: bool

    @property
    def basis(self) -> str:
        """How far to trust it, in words."""
        return f"{'extrapolated from' if self.extrapolated else 'measured at'} {self.measured_at:,} images"


def needs(images: int, rate: float, retention_h: float) -> list[Need]:
    """Return what a platform needs.

    Args:
        images: in the corpus, at least 1.
        rate: new images per second, 0 or more.
        retention_h: hours for which Kafka keeps messages.
    """

    def per_image(what: str, each: float, unit: str = "bytes", fixed: float = 0.0) -> Need:
        return Need(what, fixed + each * images, unit, _MEASURED_AT, images > _MEASURED_AT)

    return [
        per_image("disk: store", _STORE_BYTES),
        per_image("disk: vectors, mapped", _VECTOR_BYTES),
        per_image("disk: term index, mapped", _INDEX_BYTES),
        per_image("disk: snapshot on S3", _STORE_BYTES),
        Need("disk: Kafka", _MESSAGE_BYTES * rate * retention_h * 3_600, "bytes", _SMALL_AT, extrapolated=False),
        per_image("memory: worker, private", _PRIVATE_BYTES, fixed=_WORKER_BYTES),
        per_image("memory: page cache, to search from memory", _INDEX_BYTES),
        per_image("memory: page cache, to score from memory", _COMPACT_BYTES),
        Need("processor: worker", rate * image_s(images, rate), "cores", _MEASURED_AT, images > _MEASURED_AT),
        per_image("start, with files as they were", _OPEN_S, "s", _PROCESS_S),
        per_image("start, index and vectors made again", _REBUILD_S, "s", _PROCESS_S),
    ]


def image_s(images: int, rate: float) -> float:
    """Return the worker's processor time for one new image, in seconds.

    The cost of a search follows the power law through its two measured sizes, and is constant below the smaller one.
    """
    (small, least), (large, most) = _SEARCH_S.items()
    exponent = log(most / least) / log(large / small)
    search = least * exp(exponent * log(max(images, small) / small))
    shared = min(1.0, max(0.0, (rate - _ALONE_RATE) / (_BACKLOG_RATE - _ALONE_RATE)))
    return (search + _OTHER_S) * (_ALONE + (1 - _ALONE) * shared)
