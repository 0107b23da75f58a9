"""What becomes of each row of a data set, from its rows without their vectors. Pure.

Rows (`parquet_rows.py`) → **fate of each row, images in the order of their decisions** → load, segments, messages.

The rules, in the order in which they apply; a row that is bad takes no part in the later ones:

1. A row that is bad by itself is bad.
2. Rows with the same id and the same embeddings present are *repeated* where head and event time are equal (and the
   vectors, which only their reader can tell): the first counts. Otherwise, and where one row has both embeddings and
   another one has one, all rows of the id are bad (`duplicate`).
3. A row with one embedding and a row with the other one are one image, of the later event time. Their heads may not
   differ (`conflicting-head`); one of them may be null.
4. What has both embeddings and names itself founds its cluster.
5. What names another image joins the cluster of this image, if that founds one, or if the platform knows it. It is
   *dangling* otherwise, or a *chain* where the head is a row that names another one.
6. What has both embeddings and names no head is decided like the stream.
7. What has one embedding waits for the other as in the stream. It may not name a head (`unpaired-head`).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neardup_platform.bootstrap.parquet_rows import Rows
from neardup_platform.bootstrap.row_checks import CODES, REASON_NAMES, Codes, Mask
from neardup_platform.records import Kind

Numbers = NDArray[np.int64]
# From distinct heads (`large_binary`) to whether the platform knows an image of that id, bool.
Known = Callable[[pa.Array], Mask]

NONE = -1


class Fate(IntEnum):
    """What becomes of a row."""

    BAD = 0
    HEADED = 1
    """An image with both embeddings and a head."""
    UNDECIDED = 2
    """An image with both embeddings and without head."""
    HALF = 3
    """One embedding, whose partner is not in the data set."""
    JOINED = 4
    """The `pair` embedding of an image whose other row is headed or undecided."""
    REPEATED = 5
    """Equal to an earlier row."""


@dataclass(frozen=True, slots=True)
class Fates:
    """The fates of n rows.

    Attributes:
        fate: uint8 [n]: a `Fate`.
        reasons: uint8 [n]: codes of `row_checks.py`; 0 where the row is not bad.
        partner: int64 [n]: of an image in two rows, the row with the other embedding; -1 elsewhere.
        first: int64 [n]: of a repeated row, the row that counts; of others the row itself.
        founder: int64 [n]: of a headed row, the row that founds its cluster: itself, if it is the founder; -1 where the
            head is outside of the data set, and for other rows.
        event_time_ms: int64 [n]: of a headed or undecided row, the event time of its image.
        head: int64 [n]: of a headed row, the row that names its head: itself, or its partner; -1 for other rows.
    """

    fate: NDArray[np.uint8]
    reasons: Codes
    partner: Numbers
    first: Numbers
    founder: Numbers
    event_time_ms: Numbers
    head: Numbers

    def rows(self, fate: Fate) -> Numbers:
        """The rows of a fate, in their order."""
        return np.flatnonzero(self.fate == fate)

    def headed(self) -> Numbers:
        """The headed rows in the order of their decisions: by event time, each founder before its members.

        A member that is older than its founder follows it directly in time. Equal times: founders first, then by row.
        """
        rows = self.rows(Fate.HEADED)
        founder, time = self.founder[rows], self.event_time_ms[rows]
        inside = founder != NONE
        key = np.where(inside, np.maximum(time, self.event_time_ms[np.where(inside, founder, rows)]), time)
        return rows[np.lexsort((rows, founder != rows, key))]

    def undecided(self) -> Numbers:
        """The undecided rows in the order of their decisions: by event time, then by row."""
        rows = self.rows(Fate.UNDECIDED)
        return rows[np.lexsort((rows, self.event_time_ms[rows]))]

    def counts(self) -> Counter[str]:
        """The number of rows of each fate, by its name in lower case."""
        numbers = np.bincount(self.fate, minlength=len(Fate))
        return Counter({fate.name.lower(): int(numbers[fate]) for fate in Fate})

    def bad(self) -> Counter[str]:
        """The number of bad rows, by reason."""
        numbers = np.bincount(self.reasons, minlength=len(REASON_NAMES))
        return Counter({name: int(numbers[code]) for name, code in CODES.items() if name and numbers[code]})


def fates_of(rows: Rows, known: Known | None = None, found: Codes | None = None) -> Fates:
    """Say what becomes of each row.

    Args:
        known: whether the platform knows a head that founds no cluster in the data set; None: taken for granted, which
            leaves the question to the worker.
        found: uint8 [n]: reasons that were found with the vectors; `duplicate` for a repeated row with other vectors.
    """
    reasons = rows.reasons.copy()
    if found is not None:
        reasons = np.where(reasons == 0, found, reasons)
    doubled = reasons == CODES["duplicate"]
    reasons[doubled] = 0
    lsh, pair = rows.present[Kind.LSH], rows.present[Kind.PAIR]
    same, name, target, names = _named(rows)
    groups = _Groups(reasons, same, lsh, pair, name, rows.event_time_ms, doubled)
    partner, first = groups.resolve()
    head = np.where(name != NONE, np.arange(len(rows)), NONE)
    time = rows.event_time_ms.copy()
    joined = np.flatnonzero((partner != NONE) & lsh)
    other = partner[joined]
    time[joined] = np.maximum(time[joined], time[other])
    head[joined] = np.where(head[joined] != NONE, head[joined], head[other])
    named = np.where(head != NONE, name[np.maximum(head, 0)], NONE)

    counts = (reasons == 0) & (first == np.arange(len(rows)))
    whole = counts & lsh & (pair | (partner != NONE))
    is_partner = counts & (partner != NONE) & ~lsh
    half = counts & ~whole & ~is_partner
    reasons[half & (named != NONE)] = CODES["unpaired-head"]

    own = np.where(named != NONE, target[np.maximum(named, 0)], NONE)
    founds = whole & (named != NONE) & (own == same)
    founder_of = np.full(len(rows), NONE)
    founder_of[same[founds]] = np.flatnonzero(founds)
    image_of = np.full(len(rows), NONE)
    image_of[same[whole]] = np.flatnonzero(whole)
    headed = whole & (named != NONE)
    founder = np.where(headed & (own != NONE), founder_of[np.maximum(own, 0)], NONE)

    lost = np.flatnonzero(headed & (founder == NONE))
    there = np.where(own[lost] != NONE, image_of[np.maximum(own[lost], 0)], NONE)
    chained = (there != NONE) & (named[np.maximum(there, 0)] != NONE)
    reasons[lost[chained]] = CODES["head-chain"]
    asked = lost[~chained]
    if known is not None and len(asked):
        distinct, inverse = np.unique(named[asked], return_inverse=True)
        reasons[asked[~known(names.take(pa.array(distinct)))[inverse]]] = CODES["dangling-head"]

    fate = np.full(len(rows), Fate.BAD, np.uint8)
    fate[whole] = np.where(named[whole] != NONE, np.uint8(Fate.HEADED), np.uint8(Fate.UNDECIDED))
    fate[half] = Fate.HALF
    fate[is_partner] = Fate.JOINED
    fate[(reasons == 0) & (first != np.arange(len(rows)))] = Fate.REPEATED
    # Both rows of an image share its fate.
    bad_image = joined[reasons[joined] != 0]
    reasons[partner[bad_image]] = reasons[bad_image]
    fate[reasons != 0] = Fate.BAD
    good = fate == Fate.HEADED
    return Fates(
        fate=fate,
        reasons=reasons,
        partner=np.where(fate != Fate.BAD, partner, NONE),
        first=first,
        founder=np.where(good, founder, NONE),
        event_time_ms=time,
        head=np.where(good, head, NONE),
    )


@dataclass(frozen=True, slots=True)
class _Groups:
    """The rows of each id, for rules 2 and 3; `reasons` is changed."""

    reasons: Codes
    same: Numbers
    lsh: Mask
    pair: Mask
    name: Numbers
    time: Numbers
    doubled: Mask

    def resolve(self) -> tuple[Numbers, Numbers]:
        """Partner and first row of each row."""
        rows = len(self.same)
        partner, first = np.full(rows, NONE), np.arange(rows)
        good = self.reasons == 0
        several = np.flatnonzero(good & (np.bincount(self.same[good], minlength=rows)[self.same] > 1))
        if not len(several):
            return partner, first
        shape = self.lsh[several].astype(np.int64) + 2 * self.pair[several]
        order = np.lexsort((several, shape, self.same[several]))
        several, shape = several[order], shape[order]
        ids = self.same[several]
        # The first of the rows that have the same id and the same embeddings.
        leads = np.r_[True, (ids[1:] != ids[:-1]) | (shape[1:] != shape[:-1])]
        lead = several[np.maximum.accumulate(np.where(leads, np.arange(len(several)), 0))]
        first[several] = lead
        differs = (self.name[several] != self.name[lead]) | (self.time[several] != self.time[lead])
        group = np.cumsum(np.r_[True, ids[1:] != ids[:-1]]) - 1
        has = [np.bincount(group[shape == each], minlength=group[-1] + 1) > 0 for each in (1, 2, 3)]
        clash = has[2] & (has[0] | has[1])
        clash |= np.bincount(group[differs | self.doubled[several]], minlength=group[-1] + 1) > 0
        two = (has[0] & has[1] & ~clash)[group] & leads
        halves, others = several[two & (shape == 1)], several[two & (shape == 2)]
        apart = (self.name[halves] != self.name[others]) & (self.name[halves] != NONE) & (self.name[others] != NONE)
        for side in (halves, others):
            self.reasons[side[apart]] = CODES["conflicting-head"]
        partner[halves[~apart]], partner[others[~apart]] = others[~apart], halves[~apart]
        self.reasons[several[clash[group]]] = CODES["duplicate"]
        return partner, first


def _named(rows: Rows) -> tuple[Numbers, Numbers, Numbers, pa.Array]:
    """Ids and heads as numbers.

    Returns:
        Of each row the first row with its id, and the number of its head, -1 for none; of each number the first row
        with this id, -1 for none; the ids and heads by number.
    """
    encoded = pa.chunked_array([rows.image_id, rows.head]).dictionary_encode()
    of_id, of_head = (pc.fill_null(chunk.indices, NONE).to_numpy().astype(np.int64) for chunk in encoded.chunks)
    names = encoded.chunk(0).dictionary
    # At least one, so that it can be indexed where there is none; the last one is of rows without id.
    target = np.full(len(names) + 1, NONE)
    target[of_id[::-1]] = np.arange(len(rows))[::-1]
    return target[of_id], of_head, target, names
