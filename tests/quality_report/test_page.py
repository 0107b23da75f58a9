"""Claims about the page: examples from real logs, nothing that a name could inject, bounded, complete in itself."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from neardup_platform.quality_report.duckdb_examples import read_examples
from neardup_platform.quality_report.examples import MOST_IN_CLUSTER, MOST_SHOWN, Examples, together
from neardup_platform.quality_report.html_report import render
from neardup_platform.quality_report.matplotlib_trends import PLOTS
from neardup_platform.quality_report.s3_measures import Measures
from neardup_platform.quality_report.summary import Summary
from neardup_platform.settings import Settings
from neardup_platform.wire import neardup_pb2 as pb
from tests.quality_report.measured import DAY, WEEK, hour, hours, summary
from tests.what_if.records import decision, parquet

HOSTILE = "<script>alert(1)</script>\"'><img src=https://evil.example/x onerror=alert(1)>\u202e"
SETTINGS, NONE = Settings(), Examples()


class Tags(HTMLParser):
    """Elements and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[str] = []
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(name)
            if name in ("src", "srcset"):
                self.fetched.append(value or "")
            if name == "href":
                self.links.append(value or "")


def page_of(found: Summary, examples: Examples = NONE, **pictures: bytes) -> str:
    return render(SETTINGS, found, examples, pictures, 1)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    folder = tmp_path_factory.mktemp("examples")
    guard = pb.HeldApart(reason="chain-suspected", head="chain", agreed=2, compared=9, size=70)
    label = pb.Label(label_id="l", bank="hate", image_id="labelled")
    decisions = [
        decision(1, "cat"),
        *[decision(n, f"cat {n}", "cat", [("cat", 0.9 + n / 1_000, "cat")], head_score=0.9) for n in range(2, 12)],
        decision(20, "doubt", "", [("cat", 0.79, "cat")]),
        decision(21, "sure", "", [("cat", 0.01, "cat")]),
        decision(22, "held", "", [("chain 1", 0.95, "chain")], guard=guard),
        decision(23, "held too", "", [("chain 1", 0.95, "chain")], guard=guard),
        decision(24, "labelled", "cat", [("cat", 0.801, "cat")], labels=[label]),
        decision(25, "moved", "dog", cause="override"),
        decision(26, HOSTILE, "dog", [("dog", 0.81, "dog")]),
    ]
    files = [parquet(folder, decisions, "one"), parquet(folder, [*decisions, decision(30, "d", "dog")], "two")]
    return read_examples(files, folder)


def test_examples_are_the_least_certain_the_grown_and_the_held_apart(examples: Examples) -> None:
    assert [(pair.image, pair.other, pair.joined) for pair in examples.uncertain[:2]] == [
        ("doubt", "cat", False),
        (HOSTILE, "dog", True),
    ]
    assert [(cluster.head, cluster.joined) for cluster in examples.grown] == [("cat", 10), ("dog", 2)]
    assert examples.grown[0].images == ("cat 2", "cat 3", "cat 4", "cat 5")
    (chain,) = examples.chains
    assert (chain.head, chain.image, chain.held, chain.agreed, chain.compared) == ("chain", "held too", 2, 2, 9)
    assert len(examples.merges) == MOST_SHOWN
    named = set(examples.image_ids())
    assert "labelled" not in named, "its pictures may be for nobody"
    assert "moved" not in named


def test_examples_of_hours_are_summed_up(examples: Examples) -> None:
    both = together([examples, examples])
    assert [(cluster.head, cluster.joined) for cluster in both.grown] == [("cat", 20), ("dog", 4)]
    assert len(both.grown[0].images) == MOST_IN_CLUSTER - 1
    assert both.chains[0].held == 4
    assert len(both.uncertain) <= MOST_SHOWN
    assert together([]) == Examples()


def test_a_page_runs_and_fetches_nothing_whatever_images_are_called(examples: Examples) -> None:
    measures = {**hours(DAY.before), **hours(DAY)}
    measures[DAY.begin] = hour(DAY.begin, lost=[HOSTILE])
    content = io.BytesIO()
    Image.new("RGB", (20, 10)).save(content, "JPEG")
    page = page_of(summary(measures), together([examples]), **{HOSTILE: content.getvalue()})
    tags = Tags(page)
    assert not tags.names & {"script", "iframe", "object", "link", "form", "base"}
    assert not tags.handlers
    assert {address.split(",")[0] for address in tags.fetched} == {"data:image/png;base64", "data:image/jpeg;base64"}
    assert not re.search(r"@import|url\(", page)
    assert all(link.startswith((SETTINGS.api.url, SETTINGS.dagster.url)) for link in tags.links)
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert len(page) < 4_000_000


def test_every_number_is_explained_and_every_kind_of_day_has_a_page(examples: Examples) -> None:
    whole = page_of(summary({**hours(DAY.before), **hours(DAY)}), together([examples]))
    assert whole.count('class="meaning"') == whole.count('class="tile"') == 12
    assert whole.count('class="before"') == 12
    assert all(plot.title in whole for plot in PLOTS if plot.name != "drift"), "with no drift to plot"
    first = page_of(summary(hours(DAY)))
    assert 'class="before"' not in first
    quiet = page_of(summary({at: Measures(each.coverage, each.profile) for at, each in hours(DAY, images=0).items()}))
    assert "A quiet time" in quiet
    assert "<h2>Trends</h2>" not in quiet
    nothing = page_of(summary({}))
    assert "Nothing is known" in nothing
    assert 'class="tile"' not in nothing


def test_a_plot_has_missing_hours_and_a_week(tmp_path: Path) -> None:
    measures = hours(WEEK)
    del measures[WEEK.begin]
    found = summary(measures, WEEK, WEEK.end)
    for plot in PLOTS:
        assert plot.png(found).startswith(b"\x89PNG")
