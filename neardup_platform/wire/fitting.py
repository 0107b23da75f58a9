"""Makes messages fit into a topic: one that is too large loses details and says how many. Pure.

Outbox → **fitting** → producer. The store keeps the complete message. A message is never dropped for its size, or
consumers would miss a decision. Dead letters need no fitting: they are split into parts (dead_letters.py).
"""

from collections.abc import Callable
from typing import Any

from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL_RESULTS, DECISIONS, JOIN_REPORT


def fitting(topic: str, value: bytes, max_bytes: int) -> bytes:
    """Return the value unchanged if it has at most `max_bytes`, else without its least important details.

    The same value and size give the same bytes. A message without optional details is returned unchanged.
    """
    trim = _TRIMS.get(topic)
    return value if len(value) <= max_bytes or trim is None else trim(value, max_bytes)


def _trim_decision(value: bytes, max_bytes: int) -> bytes:
    """Leave out the candidates with the lowest scores, then the last bridges."""
    decision = pb.Decision.FromString(value)
    best = sorted(decision.candidates, key=lambda candidate: -candidate.score)
    bridges = list(decision.bridges)

    def keep_candidates(count: int) -> None:
        del decision.candidates[:]
        decision.candidates.extend(best[:count])
        decision.candidates_left_out = len(best) - count

    def keep_bridges(count: int) -> None:
        decision.bridges[:] = bridges[:count]
        decision.bridges_left_out = len(bridges) - count

    keep_candidates(0)
    _keep_most(len(bridges), keep_bridges, decision, max_bytes)
    _keep_most(len(best), keep_candidates, decision, max_bytes)
    return decision.SerializeToString()


def _trim_report(value: bytes, max_bytes: int) -> bytes:
    """Leave out the newest embeddings. The counts include them."""
    report = pb.ExpiryReport.FromString(value)
    named, left_out = list(report.halves), report.halves_left_out

    def keep(count: int) -> None:
        del report.halves[:]
        report.halves.extend(named[:count])
        report.halves_left_out = left_out + len(named) - count

    _keep_most(len(named), keep, report, max_bytes)
    return report.SerializeToString()


def _trim_result(value: bytes, max_bytes: int) -> bytes:
    """Leave out the largest values, and shorten the reason. `values_left_out` has their names and sizes."""
    result = pb.CommandResult.FromString(value)
    by_size = sorted(result.values, key=lambda name: (len(result.values[name].encode()), name))
    while by_size and result.ByteSize() > max_bytes:
        name = by_size.pop()
        result.values_left_out[name[:_MAX_NAME_CHARACTERS]] = len(result.values.pop(name).encode())
    if result.ByteSize() > max_bytes:
        result.reason = result.reason[:_MAX_REASON_CHARACTERS]
    return result.SerializeToString(deterministic=True)


def _keep_most(found: int, keep: Callable[[int], None], message: Any, max_bytes: int) -> None:
    """Keep as many of the first as fit, possibly none."""
    least, most = 0, found
    while least < most:
        middle = (least + most + 1) // 2
        keep(middle)
        least, most = (middle, most) if message.ByteSize() <= max_bytes else (least, middle - 1)
    keep(least)


_MAX_NAME_CHARACTERS, _MAX_REASON_CHARACTERS = 128, 2_000
_TRIMS: dict[str, Callable[[bytes, int], bytes]] = {
    DECISIONS: _trim_decision,
    JOIN_REPORT: _trim_report,
    CONTROL_RESULTS: _trim_result,
}
