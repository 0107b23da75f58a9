"""`neardup bench bootstrap`, with its own servers."""

import json
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.bench.bootstrap import Work, bench_bootstrap
from neardup_platform.bench.synthetic_data_set import heads_of

FIELDS = {"engine", "images", "seconds", "images_per_s", "peak_rss_mb", "peak_private_mb", "stream_p99_ms"}


def test_synthetic_clusters_have_their_first_image_as_head() -> None:
    numbers = range(600, 1_200)
    heads = heads_of(np.arange(600, 1_200), numbers)
    assert (heads[heads - 600] == heads).all()
    assert (heads <= np.arange(600, 1_200)).all()
    assert (heads == 600).sum() == 30
    assert np.unique(heads[30:], return_counts=True)[1].max() == 6


@pytest.mark.slow
def test_bench_bootstrap_measures_the_fields_of_the_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    answer = bench_bootstrap(Work(images=2_000, undecided=60, rate_per_s=20, seconds=90), lines.append)
    assert json.loads(json.dumps(answer)).keys() >= {"bench", "machine", "settings", "rows"}
    assert [(row["heads"], row["images"]) for row in answer["rows"]] == [("given", 2_000), ("undecided", 60)]
    for row in answer["rows"]:
        assert row.keys() >= FIELDS
        assert row["peak_rss_mb"] > row["peak_private_mb"] > 0
        assert row["images_per_s"] > 0
        assert row["stream_p99_ms"] > 0
    assert answer["rows"][0]["phases_s"]["build"] > 0
