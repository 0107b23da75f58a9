"""The job `train_classifier`, run by Dagster: real pictures, a real registry, and a real worker at the end of it."""

import csv
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from definitions import defs
from neardup_platform.kafka.control import new_command, run_command
from neardup_platform.learning.classifier.training_data import held_out
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import read_heartbeat
from neardup_platform.testing import eventually
from tests.evaluation.labelled_samples import labelled_samples
from tests.stream.worker_process import running

pytestmark = pytest.mark.slow

SHIPPED = read_card(SHIPPED_FOLDER).version


@pytest.fixture
def platform(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in environment(empty_log).items():
        monkeypatch.setenv(name, value)
    with running(empty_log):
        eventually(lambda: in_force(empty_log) == SHIPPED)
        yield empty_log


def in_force(settings: Settings) -> str:
    heartbeat = read_heartbeat(settings.home)
    return heartbeat.classifier_version if heartbeat else ""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def train(manifest: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    config = {"ops": {"training_pairs": {"config": {"manifests": [str(manifest)]}}}}
    job = defs.resolve_job_def("train_classifier")
    return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


def mislabelled(manifest: Path) -> Path:
    """The same pictures: those for training with swapped groups, held-out ones with their own."""
    with manifest.open() as lines:
        rows = list(csv.DictReader(lines))
    grouped = [row for row in rows if row["group"]]
    kept = held_out([row["group"] for row in grouped], np.zeros(len(grouped), np.uint64))
    wrong = [row for row, held in zip(grouped, kept, strict=True) if not held]
    names = np.random.default_rng(3).permutation([row["group"] for row in wrong])
    for row, name in zip(wrong, names, strict=True):
        row["group"] = str(name)
    path = manifest.parent / "mislabelled.csv"
    with path.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_a_worse_classifier_fails_the_check_and_a_better_one_reaches_the_worker(
    platform: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    manifest = labelled_samples(tmp_path / "labelled", 40, 20)
    worse = train(mislabelled(manifest), instance)
    assert not worse.success
    (check,) = worse.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.blocking) == ("not_worse_than_in_use", False, True)
    assert check.metadata["in_use"].value == SHIPPED
    assert check.metadata["recall_at_p99"].value < check.metadata["recall_at_p99_in_use"].value
    assert worse.asset_materializations_for_node("promoted_classifier") == []
    assert in_force(platform) == SHIPPED
    poor = shown(worse, "pair_classifier")["version"]

    forced = new_command("load-model", {"version": poor, "force": "true"}, "an operator who insists")
    assert run_command(platform.kafka, forced, 120).accepted
    eventually(lambda: in_force(platform) == poor)

    better = train(manifest, instance)
    assert better.success, [str(event.event_specific_data) for event in better.get_step_failure_events()]
    (check,) = better.get_asset_check_evaluations()
    assert (check.passed, check.metadata["in_use"].value) == (True, poor)
    version = shown(better, "pair_classifier")["version"]
    promoted = shown(better, "promoted_classifier")
    assert (promoted["version"], promoted["replaced"], promoted["forced"]) == (version, poor, "false")
    assert promoted["command_id"] == f"dagster-{better.run_id}-{version}", "a re-executed run is the same command"
    eventually(lambda: in_force(platform) == version)

    pairs = shown(better, "training_pairs")
    assert pairs["pairs_true"] + pairs["held_out_pairs_true"] == 3 * 40
    evaluated = shown(better, "classifier_evaluation")
    assert evaluated["version"] == version
    assert 0 < evaluated["pair_recall_at_p99"] <= 1
    for picture in ("precision_recall", "reliability", "scores", "worst_false_positives", "worst_misses"):
        assert "](data:image/png;base64,iVBOR" in evaluated[picture], picture


def test_every_step_depends_on_the_previous_one() -> None:
    graph = defs.resolve_asset_graph()
    steps = ("pair_classifier", "classifier_evaluation", "promoted_classifier")
    parents = {step: {p.to_user_string() for p in graph.get(dg.AssetKey(step)).parent_keys} for step in steps}
    assert parents["pair_classifier"] == {"training_pairs"}
    assert parents["classifier_evaluation"] == {"training_pairs", "pair_classifier"}
    assert parents["promoted_classifier"] == {"pair_classifier", "classifier_evaluation"}
