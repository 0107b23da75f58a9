"""Pictures in Dagster metadata: PNG as a data URI in Markdown."""

import base64
from collections.abc import Callable

import dagster as dg


def picture(title: str, draw: Callable[[], bytes]) -> dg.MarkdownMetadataValue:
    """The PNG that `draw` returns; without matplotlib, a line that says how to install it."""
    try:
        content = base64.b64encode(draw()).decode()
    except ModuleNotFoundError as error:
        return dg.MetadataValue.md(f"no picture of {title}: {error}; install the extra `bench`")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{content})")
