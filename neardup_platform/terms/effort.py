"""How much a search examines, for a corpus of any size (docs/adr/0007, 0012). Pure."""

import math
from dataclasses import dataclass
from typing import Literal

from neardup_platform.settings import TermSettings

Ranking = Literal["cosine", "hamming", "overlap"]

# Settings give the effort for a corpus of this size. In a smaller one fewer unrelated images come between a query and
# its neighbours, so less is enough; the powers keep the recall of planted corpora of 0.1, 0.3, 1 and 10 million images
# at 0.99 (docs/adr/0012).
REFERENCE_IMAGES = 10_000_000
SCAN_POWER = 0.7
SHORTLIST_POWER = 0.5
# Places on the shortlist by default among `REFERENCE_IMAGES`: in an index by cosine, and in one by signature, where a
# head tells less (docs/adr/0057).
SHORTLIST, SIGNATURE_SHORTLIST = 1_536, 3_072
# Images scanned by default among `REFERENCE_IMAGES`, in the cells of the term space and in fitted ones, which are more
# and better (docs/adr/0052).
SCAN, FITTED_SCAN = 1_500_000, 500_000
# A corpus up to this size is searched whole: that costs less than choosing. With fitted cells choosing costs no more.
MIN_SCAN, FITTED_MIN_SCAN = 100_000, 25_000
# Places on the shortlist for each candidate asked for, at least.
MIN_PLACES_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a search examines.

    Attributes:
        scan: images compared by the first step, at least.
        shortlist: images compared by their vector, or on their whole signature.
        ranking: `overlap` chooses and ranks by equal terms; otherwise the head chooses, and the vector or the signature
            ranks, whichever the index is of.
        follows: whether `scan` and `shortlist` are for `REFERENCE_IMAGES` images and follow the size of the corpus;
            otherwise they hold for any corpus.
        least: images that are scanned in any corpus, if the effort follows it.
    """

    scan: int
    shortlist: int
    ranking: Ranking = "hamming"
    follows: bool = False
    least: int = MIN_SCAN

    @classmethod
    def of(cls, settings: TermSettings, *, fitted: bool = False) -> "Effort":
        """Returns the effort that the settings ask for, in cells of the term space or in fitted ones."""
        usual, least = (FITTED_SCAN, FITTED_MIN_SCAN) if fitted else (SCAN, MIN_SCAN)
        by_cosine = settings.ranking == "cosine" and settings.min_overlap == 0
        shortlist = settings.shortlist or (SHORTLIST if by_cosine else SIGNATURE_SHORTLIST)
        return cls(settings.scan_images or usual, shortlist, settings.ranking, follows=True, least=least)

    def within(self, images: int, k: int) -> "Effort":
        """Returns the effort for a corpus of `images` images when k candidates are wanted."""
        if not self.follows:
            return self
        share = images / REFERENCE_IMAGES
        scan = max(self.least, math.ceil(self.scan * math.pow(share, SCAN_POWER)))
        shortlist = max(math.ceil(MIN_PLACES_RATIO * k), math.ceil(self.shortlist * math.pow(share, SHORTLIST_POWER)))
        return Effort(scan, shortlist, self.ranking)
