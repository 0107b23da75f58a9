"""Metrics: those of the API from the source that registers them, those of the worker from their table."""

import ast
import inspect
from collections.abc import Iterator

from neardup_platform.serving import prometheus_metrics
from neardup_platform.supervise.worker_metrics import COUNTERS, GAUGES
from scripts.reference.markdown import code, page, table

# What Prometheus' text format appends to the names of these.
_SUFFIXES = {"Counter": "_total", "_counter": "_total", "_info": "_info"}


def metrics_page() -> str:
    """Every metric of `/metrics`."""
    return page(
        "Metrics",
        "`/metrics` of the API serves these to Prometheus. [What to alert on](../tasks/watch.md#alert-on).",
        "## The API",
        table(("metric", "meaning"), [(code(name), text) for name, text in api_metrics()]),
        "## The worker",
        "The worker's heartbeat carries these. They are `neardup_worker_<name>` on `/metrics`, and appear by name in "
        "`neardup status --json`, in `/v1/status` and in Dagster.",
        table(("gauge", "meaning"), [(code(name), text) for name, text in sorted(GAUGES.items())]),
        "Counters are part of the store: they survive restarts, and a rollback restores those of the snapshot.",
        table(("counter", "meaning"), [(code(name), text) for name, text in sorted(COUNTERS.items())]),
    )


def api_metrics() -> Iterator[tuple[str, str]]:
    """Name and meaning of each metric that the API registers."""
    for node in ast.walk(ast.parse(inspect.getsource(prometheus_metrics))):
        if not isinstance(node, ast.Call) or len(node.args) < 2 or not isinstance(node.func, ast.Name):
            continue
        name, text = node.args[0], node.args[1]
        if isinstance(name, ast.Constant) and isinstance(text, ast.Constant):
            suffix = _SUFFIXES.get(node.func.id, "")
            yield str(name.value).removesuffix(suffix) + suffix, str(text.value)
