"""Pairs of images: what a request compares, and the answer."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.serving.ids import checked_length
from neardup_platform.structure.overlap import Relation

ImageId = Annotated[str, AfterValidator(checked_length)]
# A thousandth of a picture is finer than alignment.
_Fraction = Annotated[float, AfterValidator(lambda value: round(value, 4))]
_Point = tuple[_Fraction, _Fraction]
_Outline = tuple[_Point, _Point, _Point, _Point]


class PairSide(BaseModel):
    """One side of a pair: the id of an image, or both vectors of one."""

    model_config = ConfigDict(extra="forbid")

    image_id: ImageId | None = Field(None, description="of an image of the store")
    lsh: list[float] | None = Field(None, min_length=1, description="with `pair`, instead of an id")
    pair: list[float] | None = Field(None, min_length=1, description="with `lsh`, instead of an id")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        vectors = [vector for vector in (self.lsh, self.pair) if vector is not None]
        if (self.image_id is None) == (not vectors) or len(vectors) == 1:
            raise ValueError("a side is either image_id, or both lsh and pair")
        return self


class PairSides(BaseModel):
    """The two images to compare."""

    model_config = ConfigDict(extra="forbid")

    a: PairSide
    b: PairSide


class Difference(Answer):
    """A rectangle of one picture in which the other shows something else."""

    in_a: _Outline = Field(description="its corners in picture a, fractions of width and height")
    in_b: _Outline = Field(description="its corners in picture b")
    agreement: _Fraction = Field(description="correlation of brightness there, −1…1; below 0.5")


class Overlap(Answer):
    """How two pictures, a and b, lie over each other.

    A corner is [x, y] from the upper left, in fractions of width and height; beyond 0…1 it lies outside. An outline is
    the upper left, upper right, lower right and lower left corner of what it outlines, wherever they come to lie.
    """

    relation: Relation = Field(
        description="how their extents are related; `none` where they do not agree, and the rest means nothing"
    )
    agreement: _Fraction = Field(description="correlation of local contrast where they overlap, 0…1")
    a_covered: _Fraction = Field(description="share of a that b shows, 0…1")
    b_covered: _Fraction = Field(description="share of b that a shows, 0…1")
    a_in_b: _Outline = Field(description="corners of a in b")
    b_in_a: _Outline = Field(description="corners of b in a")
    mirrored: bool = Field(description="whether a is mirrored, left to right, before it is turned")
    turned: int = Field(description="degrees clockwise that lay a over b, in quarter turns: 0, 90, 180 or 270")
    rotation: _Fraction = Field(description="degrees clockwise beyond them, −45…45")
    scale: _Fraction = Field(description="side of a, laid over b, as a multiple of the side of b")
    differing: _Fraction = Field(description="share of the compared area that differs, 0…1")
    differences: list[Difference] = Field(description="rectangles that differ, largest first, at most 64")
    a_aspect: _Fraction = Field(description="width over height of a, to about 6%; 1/8…8")
    b_aspect: _Fraction = Field(description="width over height of b, likewise")


class Structure(Answer):
    """Where two pictures agree, or why that cannot be told."""

    state: str = Field(description="available, or not available")
    reason: str = Field(description="why it is not available; empty if it is")
    overlap: Overlap | None


class ExplainedPair(Answer):
    """Where an image (a) agrees with one that its decision rests on (b)."""

    image_id: str = Field(description="of the other image")
    match: bool = Field(description="whether it is the match that let the image join")
    head: bool = Field(description="whether it is the head of the cluster joined")
    structure: Structure


class PairTerm(Answer):
    """What a piece of evidence adds to the logit of the score."""

    name: str
    value: _Fraction


class ComparedPair(Answer):
    """What is known about two images. Scores are calibrated probabilities, 0…1."""

    score: float = Field(description="that they are near-duplicates")
    first_score: float = Field(description="of the images as wholes, before the second look")
    threshold: float
    head_threshold: float
    match: bool = Field(description="whether the score reaches the threshold")
    head_match: bool = Field(description="whether it reaches the threshold against the head of a cluster")
    classifier_version: str
    terms: list[PairTerm] = Field(description="of the second look, largest first; empty where the first score stands")
    structure: Structure
    undistinctive: tuple[bool, bool] = Field(
        description="whether a and b are plain or resemble much else, so that they need a higher score to match"
    )
    kind: str = Field(description="same, altered-copy, same-template or same-scene; empty where none is claimed")


class PairImage(Answer):
    """One side of a compared pair."""

    image_id: str | None = Field(description="null for a picture or vectors of the request")
    picture: str | None = Field(description="path of the picture, where one can be shown")


class PairAnswer(ComparedPair):
    """Two images compared. A comparison changes nothing."""

    a: PairImage
    b: PairImage
