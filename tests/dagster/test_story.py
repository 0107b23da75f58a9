"""A bad classifier is promoted; the damage is seen, measured and rolled back: by runs of Dagster, and by commands."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.decisions_log import decisions_log
from assets.what_if import what_if
from neardup_platform.bench.synthetic import FAMILY_IMAGES
from neardup_platform.cli import cli
from neardup_platform.client import Client
from neardup_platform.learning.classifier.s3_registry import publish as publish_classifier
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.testing import eventually
from resources.platform import PlatformResource
from tests.current_hour import hour_that_lasts
from tests.dagster.operation_run import Run
from tests.scoring.variants import variant
from tests.stream.worker_process import publish

pytestmark = pytest.mark.slow


class Operator(Protocol):
    """What the story does."""

    def snapshot(self) -> str:
        """Takes a snapshot; returns its id."""

    def promote(self, version: str) -> None:
        """Makes a classifier the active one, although it measures worse."""

    def what_if(self, classifier: str, hour: datetime) -> dict[str, Any]:
        """Asks what another classifier would have decided."""

    def plan(self, snapshot: str) -> dict[str, Any]:
        """Asks what a rollback would change."""

    def roll_back(self, snapshot: str) -> dict[str, Any]:
        """Returns to a snapshot."""


class ByCommandLine:
    def snapshot(self) -> str:
        return str(self._said("snapshot")["snapshot"])

    def promote(self, version: str) -> None:
        self._said("classifier", "promote", version, "--force")

    def what_if(self, classifier: str, hour: datetime) -> dict[str, Any]:
        return self._said("what-if", "--classifier", classifier, "--hours", f"{hour:%Y-%m-%dT%H}")

    def plan(self, snapshot: str) -> dict[str, Any]:
        return self._said("rollback", snapshot, "--dry-run")

    def roll_back(self, snapshot: str) -> dict[str, Any]:
        return self._said("rollback", snapshot)

    def _said(self, *command: str) -> dict[str, Any]:
        answer = CliRunner().invoke(cli, [*command, "--json"], standalone_mode=False)
        assert answer.exception is None, answer.output
        found: dict[str, Any] = json.loads(answer.stdout)
        return found


class ByRuns(ByCommandLine):
    """Promotion is the end of the line of assets that trains, so here, too, it is a command."""

    def snapshot(self) -> str:
        return str(Run("snapshot").shown["snapshot"])

    def what_if(self, classifier: str, hour: datetime) -> dict[str, Any]:
        config = {"classifier": classifier, "hours": f"{hour:%Y-%m-%dT%H}"}
        done = dg.materialize(
            [what_if],
            run_config={"ops": {"quality__what_if": {"config": config}}},
            resources={"platform": PlatformResource()},
        )
        (made,) = done.get_asset_materialization_events()
        return {name: value.value for name, value in made.materialization.metadata.items()}

    def plan(self, snapshot: str) -> dict[str, Any]:
        return Run("rollback", snapshot=snapshot).shown

    def roll_back(self, snapshot: str) -> dict[str, Any]:
        return Run("rollback", snapshot=snapshot, dry_run=False).shown


def never_damaged(numbers: Iterable[int]) -> str:
    """The digest of a corpus in which the shipped classifier decided: these synthetic images resemble none for it."""
    ids = [f"bench-{number:09d}" for number in numbers]
    return layout.digest_after(bytes(16), sum(layout.assignment_digest(each, each) for each in ids)).hex()


@pytest.mark.parametrize(
    ("operator", "version", "arriving"),
    [
        pytest.param(ByRuns(), "bad0bad0bad0", range(252, 264), id="runs"),
        pytest.param(ByCommandLine(), "bad1bad1bad1", range(540, 558), id="commands"),
    ],
)
def test_a_bad_classifier_is_found_out_and_rolled_back(
    platform: Settings, tmp_path: Path, operator: Operator, version: str, arriving: range
) -> None:
    """The images that arrive are whole families, whose scores are far below the good thresholds and above the bad."""
    good, wrong = read_card(SHIPPED_FOLDER).version, len(arriving) - len(arriving) // FAMILY_IMAGES
    family = [f"bench-{number:09d}" for number in arriving[:FAMILY_IMAGES]]
    variant(tmp_path / "bad", version, threshold=0.011, head_threshold=0.011, threshold_table=None)
    publish_classifier(open_s3(platform.s3), platform.s3, tmp_path / "bad")
    with Client.from_settings(platform) as api:
        there = _numbers(api)
        before, after = never_damaged(there), never_damaged([*there, *arriving])
        assert api.status().state_digest == before
        snapshot = operator.snapshot()

        operator.promote(version)
        # What is damaged is counted in the log of one hour.
        hour = hour_that_lasts(120)
        publish(platform, arriving)
        eventually(lambda: api.status().images == len(there) + len(arriving))
        # Which of the family is decided first depends on the partitions that it is read from.
        (head,) = {api.lookup(image_id).head for image_id in family}
        assert head in family
        assert api.status().state_digest != after

        resources = {"platform": PlatformResource()}
        logged = dg.materialize([decisions_log], partition_key=f"{hour:%Y-%m-%d-%H:00}", resources=resources)
        (made,) = logged.get_asset_materialization_events()
        joined: Any = made.materialization.metadata["joined"].value
        assert joined >= wrong
        found = operator.what_if(good, hour)
        assert found["founded"] == wrong
        assert found["clusters"] == found["clusters_before"] + wrong

        plan = operator.plan(snapshot)
        shown = (plan["images_unknown"], plan["images_moved"], plan["classifier_version"])
        assert shown == (len(arriving), 0, good)
        assert api.status().state_digest != after

        done = operator.roll_back(snapshot)
        assert (done["digest"], done["classifier"]) == (before, good)
        eventually(lambda: api.status().state_digest == after)
        assert api.status().classifier_version == good
        assert [api.lookup(image_id).head for image_id in family] == family


def _numbers(api: Client) -> list[int]:
    """The images that are there: those of the fixture, and those of earlier stories."""
    known = api.lookup_many([f"bench-{number:09d}" for number in range(600)])
    return sorted(int(image_id.removeprefix("bench-")) for image_id in known)
