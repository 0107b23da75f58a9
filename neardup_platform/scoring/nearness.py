"""How near images are to queries: the cosine of their centred `lsh` vectors, read from compact rows.

The term index chooses a shortlist by a few bits, and this ranks it (docs/adr/0057). A compact row holds the whole
`lsh` vector, and the candidates among the shortlisted are read right afterwards for their pair scores. So a search
ranks as exactly as vectors do, and the index need not hold more of an image than its head.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.compact import Layout, pack
from neardup_platform.scoring.nearness_kernels import F32, I64, U64, compare_shortlists
from neardup_platform.scoring.vectors import VectorRows

_ORDINAL = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class CosineNearness:
    """Ranks images of a table; see `terms.candidates.Nearness`.

    Attributes:
        rows: of the table; where it has no compact rows, the shortlisted ones are packed.
        mean: float32 [lsh_dim], subtracted from vectors of length 1.
    """

    rows: VectorRows
    mean: F32

    def rank(self, unit: F32, keys: U64, filled: I64) -> None:
        """See `Nearness`."""
        if self.rows.compact is not None:
            compare_shortlists(_read_only(self.rows.compact), np.zeros(0, np.int64), unit, self.mean, keys, filled)
            return
        lists = [row[:count] & _ORDINAL for row, count in zip(keys, filled.tolist(), strict=True)]
        listed = np.unique(np.concatenate([np.zeros(0, np.uint64), *lists])).astype(np.int64)
        listed = listed[listed < len(self.rows.lsh)]
        no_pair = np.empty((len(listed), 0), np.float16)
        packed = pack(self.rows.lsh[listed], no_pair, Layout(self.rows.lsh.shape[1], 0))
        compare_shortlists(_read_only(packed), listed, unit, self.mean, keys, filled)


def _read_only(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows as those of a mapped file, so that the loops are compiled once."""
    rows = rows[:]
    rows.flags.writeable = False
    return rows
