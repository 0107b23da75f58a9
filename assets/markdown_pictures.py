"""Pictures in Dagster metadata: PNG as a data URI in Markdown."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence

import dagster as dg


def picture(title: str, draw: Callable[[], bytes]) -> dg.MarkdownMetadataValue:
    """The PNG that `draw` returns; without matplotlib, a line that says how to install it."""
    try:
        content = base64.b64encode(draw()).decode()
    except ModuleNotFoundError as error:
        return dg.MetadataValue.md(f"no picture of {title}: {error}; install the extra `bench`")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{content})")


def gallery(
    header: Sequence[str], pairs: Iterable[tuple[str, float | int, str, str]], pictures: Mapping[str, str]
) -> dg.MarkdownMetadataValue:
    """A table of pairs: what they are, their score or a number, and both pictures; pairs without both are left out.

    Args:
        header: four names of columns.
        pairs: (what, score or whole number, one id, other id).
        pictures: data URIs by image id.
    """
    form = {int: ",", float: ".3f"}
    lines = [
        f"| {what} | {score:{form[type(score)]}} | ![]({pictures[one]}) | ![]({pictures[other]}) |"
        for what, score, one, other in pairs
        if one in pictures and other in pictures
    ]
    if not lines:
        return dg.MetadataValue.md("no pictures")
    return dg.MetadataValue.md("\n".join([f"| {' | '.join(header)} |", "|---|---|---|---|", *lines]))
