"""The values of a command's result, read from the text that they are on the topic. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from neardup_platform.wire.command_arguments import TraceArguments

_NUMBERS = {
    "snapshot": ("images", "clusters", "files", "bytes", "uploaded_bytes", "pause_ms", "taken_after", "pruned"),
    "restore": (
        *("replaced_images", "images", "clusters", "embeddings_lost"),
        *("forgotten_again", "mended", "overrides_kept", "overrides_unmet", "published_again", "published_gone"),
    ),
    "reprocess": ("images", "changed", "clusters", "clusters_before"),
    "redecide": (
        *("images", "unknown", "searched", "kept_heads", "overridden", "skipped", "moved", "founded"),
        *("clusters", "clusters_before", "store_images"),
    ),
    "ingest-segment": ("rows", "bad", "decided", "known", "conflicting", "forgotten"),
    "load": ("rows", "loaded", "bulk", "withheld", "known", "conflicting", "forgotten", "elsewhere", "bad", "other"),
    "override": ("decisions", "moved", "clusters_before", "clusters"),
    "label": ("size", "distance"),
    "label-hashes": ("hashes", "added", "matched", "labelled", "not_matchable"),
    "load-model": ("threshold", "head_threshold"),
    "use-cells": ("count", "images"),
    "unlabel-hashes": ("removed", "labels_removed"),
    "pause": ("at_ms",),
    "shadow": ("since_ms", "published_to"),
    "cut-over": ("since_ms", "withheld", "published_after"),
    "publish-withheld": ("images", "published", "unknown", "published_before"),
    "resume": ("at_ms",),
}
_FLAGS = {"redecide": ("dry_run",), "load-model": ("forced",), "resume": ("was_paused",)}
# One id a line, which an id cannot contain.
_LISTS = {"label": ("members",)}
_JSON = {"redecide": ("examples",), "load": ("examples",), "label-hashes": ("matches",)}


def values_read(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The values of a command's result, with numbers, flags and lists converted, examples and a trace decoded.

    Args:
        name: of the command.
    """
    if name == TraceArguments.command:
        trace: dict[str, Any] = json.loads(values.get("trace", "{}"))
        return trace
    read: dict[str, Any] = {
        key: _number(value) if key in _NUMBERS.get(name, ()) else value for key, value in values.items()
    }
    read |= {key: values[key] == "true" for key in _FLAGS.get(name, ()) if key in values}
    read |= {key: values[key].splitlines() for key in _LISTS.get(name, ()) if key in values}
    return read | {key: json.loads(values[key]) for key in _JSON.get(name, ()) if key in values}


def _number(value: str) -> int | float | str:
    """A worker of another version may send something else, which stays text."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
