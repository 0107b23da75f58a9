"""A trace in words, for the command line and for a run in Dagster. Pure."""

from collections.abc import Mapping
from typing import Any

from neardup_platform.counted import counted

_UNDISTINCTIVE = "an undistinctive picture, plain or like many others: it needs a higher score than most"


def trace_in_words(trace: Mapping[str, Any]) -> str:
    """A trace in words, in the order of the pipeline."""
    terms, verdict, limits, current = (trace[name] for name in ("terms", "verdict", "thresholds", "in_force"))
    classifier = trace["versions"]["classifier"]
    cells, found = ", ".join(map(str, terms["cells"])), trace["candidates_found"]
    agrees = "as currently decided" if verdict["as_in_force"] else "different from the current decision"
    lines = {
        "image": f"{trace['image_id']}, after decision {trace['sequence']}",
        "current": f"{_where(current, 'founded')}; decision {current['sequence']} by classifier "
        f"{current['classifier_version']}",
        "terms": f"{terms['tables']} of {terms['bits']} bits, {terms['bits_set']} bits set, nearest cells {cells}",
        "search": f"{terms['examined']} of {counted(terms['corpus_images'], 'image')} compared, "
        f"{counted(found, 'candidate')}",
        "score": f"{counted(verdict['matches'], 'match')} at {limits['match']:.4f} by classifier {classifier}"
        + "".join(_candidates(trace)),
        "decide": f"{_where(verdict, 'founds')} (needs {limits['head']:.4f}): {agrees}{_by(verdict)}",
        **({"labels": "".join(map(_label, verdict["labels"]))} if verdict.get("labels") else {}),
        **({"distinct": _UNDISTINCTIVE} if trace.get("undistinctive") else {}),
        "bridges": ", ".join(verdict["bridges"]) or "none",
        **({"guard": _held_apart(verdict["guard"])} if verdict.get("guard") else {}),
        "took": ", ".join(f"{stage} {took:.2f} ms" for stage, took in trace["stage_ms"].items()),
        **{f"features of the pair with {other}": _features(values) for other, values in trace["features"].items()},
        **{
            f"second look at {other}": f"first score {seen['first_score']:.4f}{_features(seen['terms'])}"
            for other, seen in trace["second_look"].items()
        },
    }
    return "\n".join(f"{name:<9} {line}" for name, line in lines.items())


def _where(found: Mapping[str, Any], founds: str) -> str:
    place = "a cluster of its own" if found[founds] else f"cluster {found['head']}"
    return f"{place}, score {found['score']:.4f}, against the head {found['head_score']:.4f}"


def _by(verdict: Mapping[str, Any]) -> str:
    return f", by override {verdict['override_id']}" if verdict.get("override_id") else ""


def _label(label: Mapping[str, str]) -> str:
    return f"\n  bank {label['bank']}: policy {label['policy']}, action {label['action']}, by {label['image_id']}"


def _held_apart(guard: Mapping[str, Any]) -> str:
    return (
        f"held apart from {guard['head']} ({guard['reason']}): of {counted(guard['size'], 'member')}, "
        f"{guard['compared']} were compared and {guard['agreed']} agree"
    )


def _candidates(trace: Mapping[str, Any]) -> list[str]:
    left_out = trace["candidates_found"] - len(trace["candidates"])
    lines = [
        f"\n  {c['score']:.4f}{'*' if c['match'] else ' '} distance {c['distance']:>4}, {c['overlap']:>3} equal terms  "
        f"{c['image_id']} in {c['head']}" + (f", {c['kind']}" if c.get("kind") else "")
        for c in trace["candidates"]
    ]
    return [*lines, f"\n  and {left_out} more with lower scores"] if left_out else lines


def _features(features: Mapping[str, float]) -> str:
    return "".join(f"\n  {name:>32} {value:g}" for name, value in features.items())
