"""The recall and the work of hashing, computed before anything is measured.

Two vectors at angle θ (after centring and whitening) agree in one random sign bit with probability
p = 1 − θ/π (Charikar 2002, "Similarity estimation techniques from rounding algorithms", section 3). Bits of
independent hyperplanes are independent, so everything below is binomial.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr


def agree_probability(cosine: float) -> float:
    """Returns the probability that one bit of two vectors agrees, 0…1.

    Args:
        cosine: −1…1, between the vectors after centring and whitening.
    """
    return 1.0 - float(np.arccos(np.clip(cosine, -1.0, 1.0))) / np.pi


def share_probability(cosine: float, tables: int, bits: int, at_least: int = 1) -> float:
    """Returns the probability that two vectors share `at_least` terms: Binomial(T, p^k) (Indyk, Motwani 1998)."""
    return 1.0 - _binomial_below(at_least, tables, agree_probability(cosine) ** bits)


def expected_postings(cosines: NDArray[np.float64], tables: int, bits: int) -> float:
    """Returns the postings that an inverted index of the terms reads per stored image and query: the mean overlap.

    Args:
        cosines: float64 [n], a sample of the cosines between unrelated images.
    """
    agree = 1.0 - np.arccos(np.clip(cosines, -1.0, 1.0)) / np.pi
    return float(tables * np.mean(agree**bits))


def within_probability(cosine: float, signature_bits: int, distance: int) -> float:
    """Returns the probability that two signatures differ in at most `distance` bits: Binomial(bits, 1 − p)."""
    return _binomial_below(distance + 1, signature_bits, 1.0 - agree_probability(cosine))


def _binomial_below(limit: int, trials: int, probability: float) -> float:
    # scipy's cumulative distribution, because the binomial coefficients of 2,040 bits exceed float64.
    return float(bdtr(limit - 1, trials, probability)) if limit > 0 else 0.0
