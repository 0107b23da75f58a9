"""What decides the chosen images: a classifier with its limits and thresholds. Pure."""

from dataclasses import dataclass, replace

from neardup_platform.matching import Matcher, Matching, PairScorer, Thresholds
from neardup_platform.records import Decision


@dataclass(frozen=True, slots=True)
class Rules:
    """A classifier and thresholds, and the term space whose candidates they judge.

    Attributes:
        matcher: scores pairs.
        terms_version: of the active term space.
    """

    matcher: Matcher
    terms_version: str

    @classmethod
    def of(
        cls,
        scorer: PairScorer,
        matching: Matching,
        terms_version: str,
        threshold: float | None = None,
        head_threshold: float | None = None,
    ) -> "Rules":
        """Rules by a classifier; thresholds that are given hold for every image, in a corpus of any size."""
        if (threshold, head_threshold) != (None, None):
            matching = replace(
                matching,
                threshold=threshold or matching.threshold,
                head_threshold=head_threshold or matching.head_threshold,
                table=None,
            )
        return cls(Matcher(scorer, matching), terms_version)

    @property
    def version(self) -> str:
        """The version of the classifier."""
        return self.matcher.scorer.version

    def has_scored(self, decision: Decision) -> bool:
        """Whether a decision recorded the candidates and scores that these rules would find."""
        return (decision.classifier_version, decision.terms_version) == (self.version, self.terms_version)

    def thresholds(self, images: int, *, undistinctive: bool) -> Thresholds:
        """What an image must reach; see `Matching.thresholds`."""
        return self.matcher.matching.thresholds(images, undistinctive=undistinctive)
