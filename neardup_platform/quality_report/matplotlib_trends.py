"""Plots of a period, hour by hour or day by day, each a PNG for a light or a dark background."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from neardup_platform.evaluation.matplotlib_panel import Theme, panel_of, png
from neardup_platform.hourly_quality.coverage import Coverage
from neardup_platform.hourly_quality.profile import Profile
from neardup_platform.hourly_quality.recall import LEAST, Recall
from neardup_platform.quality_report.s3_measures import Measures
from neardup_platform.quality_report.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The days have the width of the page.
_WIDE_IN = (11.6, 3.0)
_Draw = Callable[["Axes", Theme, Summary], None]
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
_PERCENT = FuncFormatter(lambda value, _: f"{value:.0%}" if abs(value - round(value, 2)) < 1e-9 else f"{value:.1%}")


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of a period.

    Attributes:
        name: of its file, without suffix.
        title: what it shows.
        text: how to read it, in a sentence or two.
    """

    name: str
    title: str
    text: str
    draw: _Draw

    def png(self, found: Summary, *, dark: bool = False) -> bytes:
        """The plot as PNG."""
        figure, panel, theme = panel_of(dark)
        self.draw(panel, theme, found)
        return png(figure)


def _arrivals(panel: "Axes", theme: Theme, found: Summary) -> None:
    before = _values(found.previous, _of_coverage(lambda each: each.fates.announced))
    now = _values(_measures(found), _of_coverage(lambda each: each.fates.announced))
    panel.bar(_places(now), now, width=_width(found), color=theme.true, label=f"this {found.period.kind}")
    _before(panel, theme, before, found)
    _hours(panel, theme, found)
    panel.yaxis.set_major_formatter(_THOUSANDS)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))


def _latency(panel: "Axes", theme: Theme, found: Summary) -> None:
    half, most = (_values(_measures(found), _percentile(place)) for place in (0, 2))
    panel.plot(_places(most), most / 1_000, color=theme.true, marker=_marker(found), label="99 of 100")
    panel.plot(_places(half), half / 1_000, color=theme.true, linestyle=":", label="half of them")
    limit_s = found.limits.max_p99_ms / 1_000
    panel.axhline(limit_s, color=theme.false, linewidth=1.2, linestyle="--", label=f"wanted: {limit_s:g} s")
    panel.set(ylabel="seconds", ylim=(0, None))
    _hours(panel, theme, found)


def _duplicates(panel: "Axes", theme: Theme, found: Summary) -> None:
    now = _values(_measures(found), _joined_share)
    panel.plot(_places(now), now, color=theme.true, marker=_marker(found), label=f"this {found.period.kind}")
    _before(panel, theme, _values(found.previous, _joined_share), found)
    panel.set(ylim=(0, None))
    panel.yaxis.set_major_formatter(_PERCENT)
    _hours(panel, theme, found)


def _undecided(panel: "Axes", theme: Theme, found: Summary) -> None:
    kinds = {
        "refused": (theme.true, _of_coverage(lambda each: each.fates.refused)),
        "without a partner": (theme.faint, _of_coverage(lambda each: each.fates.expired + each.fates.incomplete)),
        "lost or unverified": (theme.false, _of_coverage(lambda each: each.lost + each.unverified)),
    }
    floor = np.zeros(len(found.hours))
    for label, (colour, read) in kinds.items():
        values = np.nan_to_num(_values(_measures(found), read))
        panel.bar(_places(values), values, bottom=floor, width=_width(found), color=colour, label=label)
        floor += values
    _counts(panel)
    _hours(panel, theme, found)


def _recall(panel: "Axes", theme: Theme, found: Summary) -> None:
    """Shares of samples; those of fewer than are judged are left out, so as not to look like dips."""
    kinds: dict[str, tuple[Callable[[Recall], float | None], float, str, str]] = {
        "matches found": (_found_share, found.limits.min_recall, theme.true, "-"),
        "decided the same again": (_agreement, found.limits.min_agreement, theme.ink, "--"),
    }
    lowest = 1.0
    for label, (read, limit, colour, style) in kinds.items():
        values = _values(_measures(found), _of_recall(read))
        panel.plot(_places(values), values, color=colour, linestyle=style, marker=_marker(found), label=label)
        lowest = min(lowest, limit, *values[~np.isnan(values)])
    least = min(found.limits.min_recall, found.limits.min_agreement)
    panel.axhline(least, color=theme.false, linewidth=1.2, linestyle="--", label=f"wanted: {least:.0%}")
    panel.set(ylim=(max(0.0, lowest - 0.05), 1.01))
    panel.yaxis.set_major_formatter(_PERCENT)
    _hours(panel, theme, found)


def _drift(panel: "Axes", theme: Theme, found: Summary) -> None:
    limits = found.limits
    kinds = {
        "scores": ("score_psi", limits.max_score_psi, theme.true, "-"),
        "pictures": ("vector_shift", limits.max_vector_shift, theme.ink, "--"),
        "largest cluster": ("crowd", limits.max_crowd, theme.true, ":"),
    }
    for label, (name, limit, colour, style) in kinds.items():
        drifts = [getattr(hour.drift, name) if hour.drift else None for hour in found.hours]
        values = np.array([np.nan if each is None else each / limit for each in drifts], np.float64)
        panel.plot(_places(values), values, color=colour, linestyle=style, marker=_marker(found), label=label)
    panel.axhline(1, color=theme.false, linewidth=1.2, linestyle="--", label="limit")
    panel.set(ylim=(0, None))
    _hours(panel, theme, found)


def _growth(panel: "Axes", theme: Theme, found: Summary) -> None:
    new = _values(_measures(found), _of_profile(lambda each: each.decisions - each.joined))
    most = _values(_measures(found), _of_profile(lambda each: each.most_joined))
    panel.bar(_places(new), new, width=_width(found), color=theme.faint, label="new clusters")
    _counts(panel)
    other = _right_axis(panel, theme)
    other.plot(
        _places(most), most, color=theme.false, marker=_marker(found), label="joined the busiest cluster (right)"
    )
    _counts(other)
    _hours(panel, theme, found, other)


def _by_day(panel: "Axes", theme: Theme, found: Summary) -> None:
    cast("Figure", panel.figure).set_size_inches(*_WIDE_IN)
    days = [day for day, _ in found.days]
    inside = [found.period.begin <= day < found.period.end for day in days]
    colours = [theme.true if one else theme.faint for one in inside]
    panel.bar(range(len(days)), [totals.announced for _, totals in found.days], width=0.7, color=colours)
    _counts(panel)
    other = _right_axis(panel, theme)
    shares = [np.nan if totals.joined_share is None else totals.joined_share for _, totals in found.days]
    other.plot(range(len(days)), shares, color=theme.false, marker="o", markersize=4, label="near-duplicates (right)")
    other.set(ylim=(0, max(0.01, 1.25 * np.nanmax([0.0, *shares]))))
    other.yaxis.set_major_formatter(_PERCENT)
    step = max(1, len(days) // 14)
    panel.set_xticks(range(0, len(days), step), [f"{day.day} {day:%b}" for day in days[::step]])
    panel.set(ylabel="images", xlim=(-0.6, max(len(days), 5) - 0.4))
    _legend(panel, theme, other)


PLOTS = (
    Plot("arrivals", "Images that arrived", "An image counts in the hour of its last embedding.", _arrivals),
    Plot(
        "latency",
        "How long images waited",
        "From an image's last embedding to its decision. Above the dashed line is slower than wanted.",
        _latency,
    ),
    Plot(
        "duplicates",
        "Share of near-duplicates",
        "Of the images decided, those that joined a cluster of images seen earlier.",
        _duplicates,
    ),
    Plot(
        "recall",
        "Whether near-duplicates are found",
        "Of sampled matching pairs of the same hour, those that were found; and of sampled images, those that would be "
        "decided the same now. Gaps: too few to judge.",
        _recall,
    ),
    Plot(
        "undecided",
        "Images without a decision",
        "Refused: a message was invalid. Without a partner: one of the two embeddings did not come. Lost: both came, "
        "and nothing happened.",
        _undecided,
    ),
    Plot(
        "drift",
        "How far each hour differs from the day before it",
        "As a part of what is allowed: scores of the best match (population stability index), pictures (shift of the "
        "mean embedding), and the share of duplicates that went into one cluster. Gaps: too few images to judge.",
        _drift,
    ),
    Plot(
        "growth",
        "Growth of clusters",
        "Every image that matches nothing founds a cluster. Many that join one cluster may be spam or a template.",
        _growth,
    ),
    Plot("days", "Day by day", "Images that arrived, and of those decided the share of near-duplicates.", _by_day),
)


def _measures(found: Summary) -> list[Measures]:
    return [hour.measures for hour in found.hours]


def _values(measures: Sequence[Measures], read: Callable[[Measures], float | None]) -> NDArray[np.float64]:
    """A number of each hour, NaN where it is not measured."""
    return np.array([np.nan if (value := read(each)) is None else value for each in measures], np.float64)


def _of_coverage(read: Callable[[Coverage], float]) -> Callable[[Measures], float | None]:
    return lambda each: read(each.coverage) if each.coverage else None


def _of_profile(read: Callable[[Profile], float]) -> Callable[[Measures], float | None]:
    return lambda each: read(each.profile) if each.profile else None


def _of_recall(read: Callable[[Recall], float | None]) -> Callable[[Measures], float | None]:
    return lambda each: read(each.recall) if each.recall else None


def _found_share(found: Recall) -> float | None:
    return found.recall if found.matches + len(found.missed) >= LEAST else None


def _agreement(found: Recall) -> float | None:
    return found.agreement if found.decided_again >= LEAST else None


def _percentile(place: int) -> Callable[[Measures], float | None]:
    def read(each: Measures) -> float | None:
        latency_ms = each.coverage.fates.latency_ms if each.coverage else ()
        return latency_ms[place] if latency_ms else None

    return read


def _joined_share(each: Measures) -> float | None:
    return each.profile.joined / each.profile.decisions if each.profile and each.profile.decisions else None


def _places(values: Sequence[Any] | NDArray[np.float64]) -> NDArray[np.int64]:
    return np.arange(len(values))


def _before(panel: "Axes", theme: Theme, values: NDArray[np.float64], found: Summary) -> None:
    if not np.isnan(values).all():
        label = f"the {found.period.kind} before"
        panel.plot(_places(values), values, color=theme.ink, linewidth=1.2, linestyle="--", alpha=0.6, label=label)


def _counts(panel: "Axes") -> None:
    """Whole numbers from 0 on."""
    panel.set_ylim(0, max(1.0, panel.get_ylim()[1]))
    panel.yaxis.set_major_formatter(_THOUSANDS)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _marker(found: Summary) -> str:
    return "." if found.period.kind == "day" else ""


def _width(found: Summary) -> float:
    """Of a bar; those of a week are too narrow for gaps."""
    return 0.8 if found.period.kind == "day" else 1.0


def _right_axis(panel: "Axes", theme: Theme) -> "Axes":
    other = panel.twinx()
    other.tick_params(colors=theme.false, labelsize=9)
    for spine in other.spines.values():
        spine.set_visible(False)
    return other


def _hours(panel: "Axes", theme: Theme, found: Summary, other: "Axes | None" = None) -> None:
    """Ticks for hours, or days of a week; hours that are not measured are shaded; the legend."""
    starts: list[datetime] = found.period.hours
    step = 3 if found.period.kind == "day" else 24
    shown = starts[::step]
    panel.set_xticks(range(0, len(starts), step), [f"{at:%H}" if step == 3 else f"{at:%a} {at.day}" for at in shown])
    panel.set_xlim(-0.7, len(starts) - 0.3)
    if step == 3:
        panel.set_xlabel("hour of the day, UTC")
    label = "not measured"
    for number, hour in enumerate(found.hours):
        if hour.start in found.missing:
            panel.axvspan(number - 0.5, number + 0.5, color=theme.faint, alpha=0.35, linewidth=0, label=label)
            label = "_"
    _legend(panel, theme, other)


def _legend(panel: "Axes", theme: Theme, other: "Axes | None" = None) -> None:
    """What the colours mean, above the plot, where it hides nothing."""
    handles, labels = panel.get_legend_handles_labels()
    if other:
        more_handles, more_labels = other.get_legend_handles_labels()
        handles, labels = [*handles, *more_handles], [*labels, *more_labels]
    panel.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=3,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9,
        columnspacing=1.2,
        handlelength=1.6,
    )
