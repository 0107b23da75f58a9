"""The asset `term_space`, run by Dagster on the sample pictures."""

from pathlib import Path

import dagster as dg
import pytest

from assets.term_space import term_space
from neardup_platform.terms.hyperplanes import load_term_space
from resources.platform import PlatformResource

PICTURES = sorted((Path(__file__).parents[2] / "samples" / "pictures").glob("*.jpg"))


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path / "home"))
    (tmp_path / "m.csv").write_text("\n".join(["file", *map(str, PICTURES)]) + "\n")
    return tmp_path / "m.csv"


def materialise(manifest: Path, images: int) -> dg.ExecuteInProcessResult:
    config = {"manifest": str(manifest), "recall": 0.9, "images": images}
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [term_space],
            resources={"platform": PlatformResource()},
            run_config={"ops": {"term_space": {"config": config}}},
            instance=instance,
            raise_on_error=False,
        )


@pytest.mark.slow
def test_the_space_is_written_under_its_version_with_metrics_and_a_plot(manifest: Path, tmp_path: Path) -> None:
    (event,) = materialise(manifest, 20_000).asset_materializations_for_node("term_space")
    shown = {name: value.value for name, value in event.metadata.items()}
    space = load_term_space(Path(shown["path"]))
    assert Path(shown["path"]) == tmp_path / "home" / "term-spaces" / f"{space.version}.npz"
    assert (shown["version"], shown["tables"], shown["bits"]) == (space.version, space.tables, space.bits)
    assert shown["recall"] >= 0.9
    assert len(shown["grid"].records) == 24
    assert "](data:image/png;base64,iVBOR" in shown["recall_against_bytes"]


def test_a_corpus_too_large_for_the_pictures_fails_the_run_with_the_reason(manifest: Path) -> None:
    result = materialise(manifest, 10_000_000)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "lower --images" in str(failure.event_specific_data)
