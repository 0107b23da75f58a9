"""`neardup bench stream`, with its own servers."""

import json
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.bench.stream import Load, bench_stream
from neardup_platform.bench.synthetic import FAMILY_IMAGES, vectors
from neardup_platform.errors import SetupError
from neardup_platform.records import Kind

FIELDS = {
    *("engine", "corpus", "rate_per_s", "candidates", "images", "p50_ms", "p99_ms", "max_ms"),
    *("sustained_images_per_s", "recovery_s", "rss_mb"),
    *("durability", "published_p50_ms", "published_p99_ms", "durable_p50_ms", "durable_p99_ms"),
}


def test_synthetic_copies_are_similar_and_families_are_not() -> None:
    made = vectors(np.arange(10 * FAMILY_IMAGES), Kind.LSH, 256)
    cosines = made @ made.T
    family = np.arange(len(made)) // FAMILY_IMAGES
    same = (family[:, None] == family) & ~np.eye(len(made), dtype=bool)
    assert cosines[same].min() > 0.8
    assert cosines[family[:, None] != family].max() < 0.8


def test_an_image_is_the_same_in_every_process() -> None:
    alone = vectors(np.array([41]), Kind.PAIR, 32)[0]
    assert (vectors(np.arange(40, 43), Kind.PAIR, 32)[1] == alone).all()


def test_a_corpus_that_the_disk_cannot_hold_is_refused_before_it_is_seeded() -> None:
    load = Load(rate_per_s=40, seconds=6, corpus=10**12, candidates=20, backlog=300)
    with pytest.raises(SetupError, match=r"take 6500000 GB in the store and in mapped files, [0-9]+ GB are free"):
        bench_stream(load, lambda _: None)


@pytest.mark.slow
def test_bench_stream_measures_the_fields_of_the_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEARDUP_TERMS_FIT_CELLS_FROM", "300")
    lines: list[str] = []
    answer = bench_stream(Load(rate_per_s=40, seconds=6, corpus=300, candidates=20, backlog=300), lines.append)
    assert json.loads(json.dumps(answer)).keys() >= {"bench", "machine", "settings", "rows"}
    (row,) = answer["rows"]
    assert row.keys() >= FIELDS
    assert (row["engine"], row["corpus"], row["candidates"], row["cells"]) == ("neardup", 300, 20, "fitted")
    assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert row["sustained_images_per_s"] > 0
    assert (row["durability"], row["durable_p50_ms"] > 0) == ("power-cut", True)
    assert 0 < row["published_p50_ms"] <= row["published_p99_ms"]
    assert row["recovery_s"] > 0
    assert len(row["thirds"]) == 3
    for third in row["thirds"]:
        assert 0 < third["p50_ms"] <= third["p99_ms"] <= row["max_ms"]
        assert 0 < third["private_mb"] < third["rss_mb"] <= row["rss_mb"] * 2
    assert lines
