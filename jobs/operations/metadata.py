"""What the runs of operations show: the values of an answer, typed, with links to the explorer. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from assets.markdown_pictures import escaped
from assets.table_metadata import table
from neardup_platform.settings import Settings

_MOST_ROWS = 1_000
# Values that name an image, and values that name a cluster.
_IMAGES = ("image_id", "other_id")
_CLUSTERS = ("head", "new_head")


def shown(settings: Settings, values: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """Links to the explorer, then values as metadata: numbers as numbers, times as times; empty ones are left out."""
    kept = {name: value for name, value in values.items() if value not in (None, "", {}, []) and name != "accepted"}
    links = {f"{name}_page": settings.api.image_page(kept[name]) for name in _IMAGES if name in kept}
    links |= {f"{name}_page": settings.api.cluster_page(kept[name]) for name in _CLUSTERS if name in kept}
    links["explorer"] = f"{settings.api.url}/"
    shown_links = {name: dg.MetadataValue.url(link) for name, link in links.items()}
    return {**shown_links, **{name: _value(name, value) for name, value in kept.items()}}


def rows(records: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """A table of at most 1,000 rows; empty columns are left out."""
    kept = [dict(record) for record, _ in zip(records, range(_MOST_ROWS), strict=False)]
    names = [name for name in (kept[0] if kept else {}) if any(record[name] not in ("", None) for record in kept)]
    return table({name: record[name] for name in names} for record in kept)


def linked(records: Iterable[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """A table of examples, at most 1,000; the first column links to the page of each."""
    kept = [dict(record) for record, _ in zip(records, range(_MOST_ROWS), strict=False)]
    names = [name for name in (kept[0] if kept else {}) if name != "page"]
    lines = [_row(names), _row(["---"] * len(names))]
    for record in kept:
        cells = [_cell(record[name]) for name in names]
        lines.append(_row([f"[{cells[0]}]({record['page']})", *cells[1:]]))
    return dg.MetadataValue.md("\n".join(lines))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    return escaped(text)


def _value(name: str, value: Any) -> dg.MetadataValue[Any]:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int) and name.endswith("_ms") and value > 10**11:
        return dg.MetadataValue.timestamp(value / 1_000)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.json(value)
