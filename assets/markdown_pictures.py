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
    header: Sequence[str],
    pairs: Iterable[tuple[str, float | int, str, str]],
    pictures: Mapping[str, str],
    page: Callable[[str], str],
) -> dg.MarkdownMetadataValue:
    """A table of pairs: what they are, their score or a number, both pictures where there are any, and their ids.

    Args:
        header: four names of columns.
        pairs: (what, score or whole number, one id, other id).
        pictures: data URIs by image id.
        page: returns the page of an image, which its id leads to.
    """
    form = {int: ",", float: ".3f"}

    def cell(image_id: str) -> str:
        shown = f"![]({pictures[image_id]}) " if image_id in pictures else ""
        return f"{shown}[{escaped(image_id)}]({page(image_id)})"

    lines = [
        f"| {what} | {score:{form[type(score)]}} | {cell(one)} | {cell(other)} |" for what, score, one, other in pairs
    ]
    return dg.MetadataValue.md("\n".join([f"| {' | '.join(header)} |", "|---|---|---|---|", *lines]))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is; an id may hold anything but control characters."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#&!~" else c for c in text)
