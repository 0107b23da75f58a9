"""All generated pages, by their path in docs/."""

from pathlib import Path

from scripts.reference.commands_page import commands_page
from scripts.reference.control_page import control_page
from scripts.reference.dagster_page import dagster_page
from scripts.reference.endpoints_page import endpoints_page
from scripts.reference.metrics_page import metrics_page
from scripts.reference.python_page import python_page
from scripts.reference.settings_page import settings_page
from scripts.reference.small_pages import decisions_index, errors_page, reasons_page
from scripts.reference.topics_page import topics_page

DOCS = Path(__file__).parents[2] / "docs"


def pages() -> dict[str, str]:
    """The text of every generated page."""
    return {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/endpoints.md": endpoints_page(),
        "reference/metrics.md": metrics_page(),
        "reference/topics.md": topics_page(),
        "reference/control-commands.md": control_page(),
        "reference/dead-letter-reasons.md": reasons_page(),
        "reference/errors.md": errors_page(),
        "reference/python.md": python_page(),
        "reference/dagster.md": dagster_page(),
        "adr/index.md": decisions_index(DOCS / "adr"),
    }
