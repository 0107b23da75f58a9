"""Images that the platform knew when a data set named another head for them. Nothing moves them: a report does. Pure.

Worker: known images of a step → **those in another cluster than given** → result of `load` → report of the data set
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from neardup_platform.counted import counted

# That a result lists.
MOST_LISTED = 50
_NEXT_STEP = (
    "they stay where they are; where the data set is right, `neardup override move IMAGE --to GIVEN_HEAD` moves one, "
    "`neardup override csv` many, and `neardup override split` gives a cluster back to an image that named itself"
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A known image in another cluster than its data set says.

    Attributes:
        given: the head that the data set names; the image itself, if it was to found a cluster.
        head: of the cluster that the image is in.
    """

    image_id: str
    given: str
    head: str


def to_text(images: Iterable[Elsewhere]) -> str:
    """As a value of a command's result."""
    return json.dumps([asdict(each) for each in images], ensure_ascii=False)


def from_values(values: Iterable[dict[str, str]]) -> tuple[Elsewhere, ...]:
    """The images of `to_text`, whose JSON is decoded."""
    return tuple(Elsewhere(**each) for each in values)


def elsewhere_in_words(count: int, examples: Sequence[Elsewhere], most: int = 5) -> list[str]:
    """Lines about so many images, `most` of them by name, with the next step; none where there are none."""
    if not count:
        return []
    return [
        f"{counted(count, 'known image')} in another cluster than given: {_NEXT_STEP}",
        *(f"  {each.image_id}: given {each.given}, is in {each.head}" for each in examples[:most]),
    ]
