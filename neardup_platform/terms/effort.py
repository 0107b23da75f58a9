"""How much a search looks at, for a corpus of any size (docs/adr/0007, 0012). Pure."""

import math
from dataclasses import dataclass
from typing import Literal

Ranking = Literal["hamming", "overlap"]

# An effort is given as that for a corpus of so many images. In a smaller one fewer strangers come between a query and
# its neighbours, so less will do; the powers are what keeps the recall of planted corpora of 0.1, 0.3, 1 and 10 million
# at 0.99 (docs/adr/0012).
REFERENCE_IMAGES = 10_000_000
SCAN_POWER = 0.7
SHORTLIST_POWER = 0.5
# A corpus of no more is searched whole in any case: that costs less than choosing.
LEAST_SCAN = 100_000
# Places on the shortlist for each candidate asked for.
LEAST_PLACES = 1.25


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a search looks at.

    Attributes:
        scan: images compared by the first step, at least.
        shortlist: images compared on their whole signature.
        ranking: what the shortlist is chosen by.
        follows: whether `scan` and `shortlist` are those of REFERENCE_IMAGES and others follow their corpus, or hold
            for any.
    """

    scan: int
    shortlist: int
    ranking: Ranking = "hamming"
    follows: bool = False

    def within(self, images: int, k: int) -> "Effort":
        """The effort for a corpus of so many images, when k candidates are wanted."""
        if not self.follows:
            return self
        share = images / REFERENCE_IMAGES
        scan = max(LEAST_SCAN, math.ceil(self.scan * math.pow(share, SCAN_POWER)))
        shortlist = max(math.ceil(LEAST_PLACES * k), math.ceil(self.shortlist * math.pow(share, SHORTLIST_POWER)))
        return Effort(scan, shortlist, self.ranking)
