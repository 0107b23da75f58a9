"""What an hour of traffic looks like, in a few hundred numbers that add up over hours. Pure.

A reference is the sum of the profiles of earlier hours, so an hour is compared with a day as fast as with an hour.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact

VERSION = 1
# Scores of the best match: one bin for none, then twenty of equal width.
SCORE_BINS = 21
# Candidates found: 0, 1, 2–3, 4–7, … and all above.
CANDIDATE_BINS = 13
# Images that joined, by how many of the hour joined the same cluster: 1, 2–3, 4–7, … and all above.
CROWD_BINS = 12
# Fixed directions on which the spread of vectors is measured: of all of 256 dimensions there would be 33,000 numbers.
SPREAD_DIRECTIONS = 16


@dataclass(frozen=True, slots=True)
class Profile:
    """Counts of decisions of the stream, and moments of `lsh` vectors of a sample, one image of each cluster.

    Attributes:
        decisions: of the stream, each once.
        joined, undistinctive, held_apart: of them.
        scores: of the best match, by bin.
        candidates: numbers of candidates found, by bin.
        versions: decisions by what they were made with, such as `classifier 0123456789ab`.
        most_joined: images that joined one cluster, the largest number of any.
        crowded: the head of that cluster.
        vectors: sampled.
        vector_sum: of the sampled vectors, each of length 1; empty if there are none.
        top_terms: `vectors` times the share of images with the commonest term of a table, averaged over tables.
        crowds: images that joined, by bin.
        lengths: sum of the lengths of the sampled vectors; 0 in profiles of earlier releases.
        products: sum of the products of each two of the sampled vectors' projections on `spread_directions`, row by
            row; empty likewise.
        vector_pairs: pairs of sampled vectors; 0 likewise.
        term_pairs: of them, those with the same term of a table, averaged over tables.
    """

    decisions: int = 0
    joined: int = 0
    undistinctive: int = 0
    held_apart: int = 0
    scores: tuple[int, ...] = (0,) * SCORE_BINS
    candidates: tuple[int, ...] = (0,) * CANDIDATE_BINS
    versions: Mapping[str, int] = field(default_factory=dict)
    most_joined: int = 0
    crowded: str = ""
    vectors: int = 0
    vector_sum: tuple[float, ...] = ()
    top_terms: float = 0.0
    crowds: tuple[int, ...] = (0,) * CROWD_BINS
    lengths: float = 0.0
    products: tuple[float, ...] = ()
    vector_pairs: int = 0
    term_pairs: float = 0.0

    @property
    def crowd_size(self) -> float:
        """How many images joined the same cluster in an hour, on average over the clusters; 1 of old profiles.

        Copies that come together are not independent, and count as one where chance is judged. Of a bin, the middle.
        """
        crowds = sum(images / (1.5 * (1 << number) - 0.5) for number, images in enumerate(self.crowds))
        return sum(self.crowds) / crowds if crowds else 1.0

    @property
    def mean_vector(self) -> NDArray[np.float64] | None:
        """The mean of the sampled vectors; None without any."""
        return np.array(self.vector_sum) / self.vectors if self.vectors else None

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """The covariance of the sampled vectors along `spread_directions`; None without vectors, or of old profiles."""
        if not self.vectors or not self.products:
            return None
        mean = spread_directions(len(self.vector_sum)) @ np.array(self.vector_sum) / self.vectors
        size = len(mean)
        return np.array(self.products).reshape(size, size) / self.vectors - np.outer(mean, mean)

    @property
    def top_term_share(self) -> float | None:
        """The share of images that have the commonest term of a table, on average over tables; None without vectors."""
        return self.top_terms / self.vectors if self.vectors else None


def total(profiles: Iterable[Profile]) -> Profile:
    """The profile of some hours together; vectors of another length than those of the last are left out."""
    hours = [profile for profile in profiles if profile.decisions or profile.vectors]
    if not hours:
        return Profile()
    dim = next((len(hour.vector_sum) for hour in reversed(hours) if hour.vectors), 0)
    alike = [hour for hour in hours if hour.vectors and len(hour.vector_sum) == dim]
    crowded = max(hours, key=lambda hour: hour.most_joined)
    versions: Counter[str] = Counter()
    for hour in hours:
        versions.update(hour.versions)
    return Profile(
        decisions=sum(hour.decisions for hour in hours),
        joined=sum(hour.joined for hour in hours),
        undistinctive=sum(hour.undistinctive for hour in hours),
        held_apart=sum(hour.held_apart for hour in hours),
        scores=_sums([hour.scores for hour in hours]),
        candidates=_sums([hour.candidates for hour in hours]),
        versions=dict(sorted(versions.items())),
        most_joined=crowded.most_joined,
        crowded=crowded.crowded,
        vectors=sum(hour.vectors for hour in alike),
        vector_sum=tuple(np.sum([hour.vector_sum for hour in alike], axis=0).tolist()) if alike else (),
        top_terms=sum(hour.top_terms for hour in alike),
        crowds=_sums([hour.crowds for hour in hours]),
        lengths=sum(hour.lengths for hour in alike) if all(hour.lengths for hour in alike) else 0.0,
        products=tuple(np.sum([hour.products for hour in alike], axis=0).tolist())
        if alike and all(hour.products for hour in alike)
        else (),
        vector_pairs=sum(hour.vector_pairs for hour in alike),
        term_pairs=sum(hour.term_pairs for hour in alike),
    )


@cache
def spread_directions(dim: int) -> NDArray[np.float64]:
    """Orthogonal directions of length 1, float64 [at most SPREAD_DIRECTIONS, dim]; always the same for a dimension."""
    drawn = np.random.default_rng(dim).standard_normal((dim, min(dim, SPREAD_DIRECTIONS)))
    return np.asarray(np.linalg.qr(drawn)[0].T, np.float64)


def encode_profile(profile: Profile) -> dict[str, Any]:
    """A profile as JSON values."""
    return {"version": VERSION, **asdict(profile)}


def decode_profile(content: Any, place: str) -> Profile:
    """A profile from JSON values.

    Raises:
        BadArtefact: it is none, or of another version.
    """
    try:
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']}, expected {VERSION}")
        found = Profile(**{name: _tuple(value) for name, value in content.items() if name != "version"})
        bins = len(found.scores), len(found.candidates), len(found.crowds)
        if bins != (SCORE_BINS, CANDIDATE_BINS, CROWD_BINS):
            raise ValueError("it has other bins")
    except (KeyError, TypeError, ValueError) as error:
        raise BadArtefact(f"profile {place}: {error}: materialise that hour of quality/drift again") from error
    return found


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _sums(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(int(each) for each in np.sum(rows, axis=0))
