"""The jobs of operations, run by Dagster against a real worker, a real API, a real Kafka and a real S3 server."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from click.testing import CliRunner
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from PIL import Image

from assets.decisions_log import decisions_log
from definitions import defs
from neardup_platform.bench.synthetic import embeddings
from neardup_platform.cli import cli
from neardup_platform.client import Client
from neardup_platform.images.pdq_hash import pdq_hash
from neardup_platform.ingest.kafka_sender import Sender
from neardup_platform.kafka.control import new_command, run_command
from neardup_platform.learning.classifier.s3_registry import publish as publish_classifier
from neardup_platform.records import JoinedImage, PdqHash
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.stream.snapshots.s3_snapshots import list_snapshots
from neardup_platform.testing import eventually
from neardup_platform.wire.topics import CONTROL
from resources.platform import PlatformResource
from tests.dagster.conftest import IMAGES
from tests.dagster.operation_run import OPS, Run
from tests.dagster.supervised import ROOT
from tests.scoring.variants import variant
from tests.stream.worker_process import read_topic

pytestmark = pytest.mark.slow


def heads(api: Client, *image_ids: str) -> list[str]:
    return [api.lookup(image_id).head for image_id in image_ids]


def image(number: int) -> str:
    return f"bench-{number:09d}"


def said(*command: str) -> dict[str, Any]:
    """What the command line answers."""
    answer = CliRunner().invoke(cli, [*command, "--json"], standalone_mode=False)
    assert answer.exception is None, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def visible(api: Client, image_id: str, head: str) -> None:
    eventually(lambda: api.lookup(image_id).head == head)


def test_a_wrong_correction_is_rolled_back_and_the_rollback_undone(platform: Settings, api: Client) -> None:
    moved, other = image(1), image(7)
    head, other_head = heads(api, moved, other)
    assert head != other_head
    taken = Run("snapshot").shown
    assert taken["images"] == IMAGES
    taken_by = api.status().classifier_version

    plan = Run("override", action="move", image_id=moved, other_id=other).shown
    assert plan["summary"].strip().startswith("1 override of 2 known images would be sent: 1 image and")
    assert heads(api, moved) == [head]
    corrected = Run("override", action="move", image_id=moved, other_id=other, reason="by mistake", dry_run=False)
    assert (corrected.shown["head"], corrected.shown["decisions"]) == (other_head, 1)
    assert corrected.shown["head_page"] == f"{platform.api.url}/#/cluster/{other_head}"
    assert corrected.tags["neardup/command"] == corrected.shown["command_id"] == f"dagster-{corrected.run_id}"
    visible(api, moved, other_head)
    (kept,) = api.overrides()
    assert (kept.issued_by, kept.override_id) == (f"Dagster run {corrected.run_id}", corrected.shown["command_id"])
    assert api.history(moved)[-1].override_id == corrected.shown["command_id"]

    withdrawn = Run("override", action="remove", override_id=kept.override_id, dry_run=False)
    assert withdrawn.shown["override_id"] == kept.override_id
    planned = Run("rollback", snapshot=taken["snapshot"]).shown
    assert (planned["images"], planned["digest"]) == (IMAGES, taken["digest"])
    assert planned["present_digest"] != taken["digest"]
    changes = ("images_moved", "images_unknown", "images_returning", "clusters_split", "clusters_merged")
    assert [planned[name] for name in changes] == [1, 0, 0, 1, 0]
    assert f"({platform.api.url}/#/image/{moved})" in planned["examples_moved"]
    assert "examples_unknown" not in planned
    printed = said("rollback", taken["snapshot"], "--dry-run")
    assert (printed["digest"], printed["images_moved"]) == (taken["digest"], 1)
    (example,) = printed["examples"]["moved"]
    assert (example["image_id"], example["head_before"], example["head_after"]) == (moved, other_head, head)
    assert list(platform.home.glob("rollback-plan-*")) == []
    quick = said("rollback", taken["snapshot"], "--dry-run", "--no-compare")
    assert (quick["not_compared"], "images_moved" in quick) == ("not asked for", False)
    assert heads(api, moved) == [other_head]
    rolled_back = Run("rollback", snapshot=taken["snapshot"], dry_run=False).shown
    assert (rolled_back["digest"], rolled_back["embeddings_lost"]) == (taken["digest"], 0)
    visible(api, moved, head)
    undo = Run("undo").shown
    assert (undo["digest"], undo["images_moved"]) == (rolled_back["replaced_digest"], 1)
    assert f"({platform.api.url}/#/image/{moved})" in undo["examples_moved"]
    printed = said("rollback", "--undo", "--dry-run")
    assert (printed["undo"], printed["classifier_version"]) == (True, taken_by)
    assert heads(api, moved) == [head]
    assert Run("undo", dry_run=False).shown["digest"] == rolled_back["replaced_digest"]
    visible(api, moved, other_head)
    assert Run("undo", dry_run=False).shown["digest"] == taken["digest"]
    visible(api, moved, head)


def test_a_csv_corrects_row_by_row_and_an_image_is_forgotten(api: Client, tmp_path: Path) -> None:
    rows = f"action,image_id,other_id\nforbid,{image(12)},{image(20)}\nalone,{image(13)},\n"
    file = tmp_path / "rows.csv"
    file.write_text(rows)
    planned = Run("override_csv", file=str(file)).shown
    assert len(planned["images_now"].records) == 3
    assert said("override", "csv", str(file), "--dry-run")["overrides"] == 2
    done = Run("override_csv", text=rows, dry_run=False).shown["answers"].records
    assert [row.data["accepted"] for row in done] == [True, True]
    visible(api, image(13), image(13))
    more = f"action,image_id,other_id\nmove,{image(13)},{image(12)}\nalone,{image(14)},\n"
    refused = Run("override_csv", text=more, dry_run=False)
    assert repr(image(13)) in refused.failure.split("(")[0]
    assert "(the worker refused 1 of 2 rows" in refused.failure
    visible(api, image(14), image(14))

    assert Run("forget", image_id=image(23)).shown["head"] == heads(api, image(23))[0]
    assert Run("forget", image_id=image(23), dry_run=False).shown["forgotten"] == "image"
    again = Run("forget", image_id=image(23))
    eventually(lambda: not Run("forget", image_id=image(23)).success)
    assert again.retries == 0
    listed = tmp_path / "takedowns.csv"
    listed.write_text(f"image_id\n{image(21)}\n{image(22)}\n")
    assert len(Run("forget_csv", file=str(listed)).shown["images_now"].records) == 2
    assert Run("forget_csv", text=f"image_id\n{image(21)}\n", dry_run=False).success
    refused = Run("forget_csv", file=str(listed), dry_run=False)
    assert "(the worker refused 1 of 2 rows; the others are forgotten)" in refused.failure
    eventually(lambda: api.lookup_many([image(21), image(22)]) == {})


def test_chosen_images_are_decided_again_and_return(platform: Settings, api: Client) -> None:
    family = [image(number) for number in range(6)]
    assert heads(api, *family) == family
    loose = {"image_ids": family, "threshold": 0.011, "head_threshold": 0.011}
    tried = Run("reprocess_images", **loose).shown
    assert (tried["dry_run"], tried["images"], tried["moved"], tried["founded"]) == (True, 6, 5, 0)
    assert heads(api, *family) == family
    done = Run("reprocess_images", dry_run=False, **loose)
    assert (done.shown["moved"], done.shown["clusters"]) == (5, tried["clusters"])
    example = done.shown["examples"].records[0].data
    assert example["page"] == f"{platform.api.url}/#/image/{example['image_id']}"
    eventually(lambda: heads(api, *family) == [family[0]] * 6)
    assert api.history(family[1])[-1].cause == "reprocess"
    assert Run("undo_reprocess", command_id=done.shown["command_id"]).shown["moved"] == 5
    assert Run("undo_reprocess", command_id=done.shown["command_id"], dry_run=False).shown["moved"] == 5
    eventually(lambda: heads(api, *family) == family)
    assert api.history(family[1])[-1].cause == "undo"
    assert "has moved no image" in Run("undo_reprocess", command_id="nothing").failure

    tried = Run("reprocess", sample=3).shown
    assert (tried["dry_run"], tried["images"], tried["searched"]) == (True, 3, 0)
    assert "searched and scored again: 0, by recorded scores: 3" in tried["summary"]
    assert "about 0 of all images" in tried["summary"]
    everything = said("reprocess", "--dry-run")
    assert everything["images"] == everything["store_images"] == tried["store_images"]


def test_the_images_of_an_hour_are_decided_again_and_a_query_chooses_among_those_of_a_log(
    platform: Settings, api: Client
) -> None:
    decided = datetime.fromtimestamp(api.lookup(image(0)).decided_ms / 1_000, UTC)
    hour = f"{decided:%Y-%m-%d-%H:00}"
    of_hour = Run("reprocess_hour", None, hour).shown
    # What earlier tests moved may have been decided in the next one.
    known = api.lookup_many(image(number) for number in range(IMAGES))
    there = [datetime.fromtimestamp(api.lookup(each).decided_ms / 1_000, UTC) for each in known]
    assert of_hour["images"] == sum(f"{each:%Y-%m-%d-%H:00}" == hour for each in there) > 1
    assert "nothing" in of_hour["summary"] or of_hour["moved"] == 0
    quiet = Run("reprocess_hour", None, f"{decided - timedelta(hours=30):%Y-%m-%d-%H:00}")
    assert quiet.shown["summary"].startswith("no image was last decided in this hour")
    start = decided.replace(minute=0, second=0, microsecond=0)
    hours = {"since": start.isoformat(), "until": (start + timedelta(hours=1)).isoformat()}
    query = "select image_id from decisions where cause = '' and image_id <= 'bench-000000003'"
    assert "is not materialised" in Run("reprocess_images", query=query, **hours).failure
    dg.materialize([decisions_log], partition_key=hour, resources={"platform": PlatformResource()})
    chosen = Run("reprocess_images", query=query, **hours).shown
    assert chosen["images"] == 4
    nothing = Run("reprocess_images", query="select image_id from decisions where false", **hours)
    assert nothing.failure.startswith("no image is selected")
    writes = Run("reprocess_images", query="drop table decisions", **hours)
    assert writes.failure.startswith("the query has 1 statements (DROP), one `select` is expected")


def test_clusters_are_merged_split_and_put_in_quarantine_by_run_and_by_command(api: Client, tmp_path: Path) -> None:
    one, other, third = image(2), image(8), image(9)
    before = api.status().clusters
    plan = Run("override", action="merge", image_id=one, other_id=other).shown
    assert (plan["moved"], plan["clusters_before"], plan["clusters"]) == (1, before, before - 1)
    merged = Run("override", action="merge", image_id=one, other_id=other, dry_run=False).shown
    assert (merged["moved"], merged["clusters"]) == (1, before - 1)
    visible(api, other, merged["head"])
    again = Run("override", action="merge", image_id=one, other_id=other)
    assert "in one cluster already" in again.failure
    assert said("override", "move", third, "--to", one)["head"] == merged["head"]
    visible(api, third, merged["head"])

    listed = tmp_path / "ids.txt"
    listed.write_text(f"{third}\n")
    refused = said("override", "split", one, "--ids", str(listed))
    assert not refused["accepted"]
    assert "list both or neither" in refused["reason"]
    (moved,) = [override for override in api.overrides(third) if override.action == "move"]
    assert said("override", "remove", moved.override_id)["action"] == "remove"
    eventually(lambda: moved.override_id not in [override.override_id for override in api.overrides(third)])
    rows = f"action,image_id,image_ids\nsplit,{one},{third}\nquarantine,{one},\n"
    planned = Run("override_csv", text=rows).shown
    assert (planned["moved"], planned["clusters"] - planned["clusters_before"]) == (1, 1)
    done = Run("override_csv", text=rows, dry_run=False).shown["answers"].records
    assert [(row.data["accepted"], row.data["moved"]) for row in done] == [(True, 1), (True, 0)]
    visible(api, third, third)
    # A command of its own, after the split.
    eventually(lambda: {override.action for override in api.overrides(one)} >= {"merge", "quarantine"})
    assert "in quarantine" in CliRunner().invoke(cli, ["override", "list"]).output


def test_a_cluster_is_labelled_and_a_bank_is_exported_and_imported(
    platform: Settings, api: Client, tmp_path: Path
) -> None:
    labelled, other = image(2), image(9)
    terms = {"bank": "hate-2026", "image_id": labelled, "policy": "hate", "action": "block"}
    (head,) = heads(api, labelled)
    assert Run("label", **terms).shown["head"] == head
    assert api.banks() == []
    done = Run("label", **terms, reason="reported", dry_run=False).shown
    assert done["head"] == head
    assert labelled in [row.data["image_id"] for row in done["members"].records]
    eventually(lambda: [(label.bank, label.policy) for label in api.lookup(labelled).labels] == [("hate-2026", "hate")])
    assert api.lookup(labelled, banks=["other"]).labels == []

    answer = api.label(other, "templates", "template", "review", issued_by="me")
    assert other in answer.members
    assert answer.size == api.cluster(answer.head).size
    one_label = {"labels": 1, "hashes": 0}
    both = [{"bank": "hate-2026"} | one_label, {"bank": "templates"} | one_label]
    eventually(lambda: said("bank", "list")["banks"] == both)
    rows = CliRunner().invoke(cli, ["bank", "export"], standalone_mode=False).stdout
    assert said("bank", "remove", "templates", other)["label_id"] == answer.label_id
    assert api.unlabel(labelled, "hate-2026").image_id == labelled
    eventually(lambda: api.banks() == [])

    file = tmp_path / "bank.csv"
    file.write_text(rows)
    planned = said("bank", "import", str(file), "--dry-run")
    assert (planned["labels"], set(planned["images"])) == (2, {labelled, other})
    assert Run("bank_csv", text=rows).shown["labels"] == 2
    assert "2 of 2 labels are in place" in Run("bank_csv", file=str(file), dry_run=False).shown["summary"]
    assert all(each["accepted"] for each in said("bank", "import", str(file))["answers"])
    eventually(lambda: len(list(api.bank("templates"))) == 1)
    refused = Run("bank_csv", text=rows.replace("review", "block"), dry_run=False)
    assert "remove it first" in refused.failure
    assert said("bank", "add", "templates", image(3), "--policy", "p", "--action", "a")["size"] >= 1
    eventually(lambda: image(3) in CliRunner().invoke(cli, ["bank", "list", "templates"], standalone_mode=False).output)


def test_pictures_are_matched_with_hashes_of_a_bank(platform: Settings, api: Client, tmp_path: Path) -> None:
    """Real hashes of real pictures: stored, scaled and saved again, and another picture."""
    original = Image.open(ROOT / "samples" / "pictures" / "colosseum.jpg").convert("RGB")
    saved, small = tmp_path / "saved.jpg", original.resize((original.width // 2, original.height // 2))
    original.save(saved, quality=40)
    other = Image.open(ROOT / "samples" / "pictures" / "moose.jpg")
    send_hashed(platform, {100_000: Image.open(saved), 100_600: other})
    eventually(lambda: len(api.lookup_many([image(100_000), image(100_600)])) == 2)

    known = pdq_of(original).bits.hex()
    exchange = f"signal_type,signal_str\npdq,{known}\nmd5,{32 * '0'}\n"
    terms = {"bank": "known", "policy": "hate", "action": "block"}
    planned = Run("bank_csv", text=exchange, **terms).shown["summary"]
    assert planned == "1 hash in 1 bank would be sent; left out 1 rows of another type"
    shown = Run("bank_csv", text=exchange, **terms, dry_run=False).shown["summary"]
    assert "1 of 1 hashes are in place, 1 of them new" in shown
    assert "1 stored images match, 1 were labelled" in shown
    eventually(lambda: [label.bank for label in api.lookup(image(100_000)).labels] == ["known"])
    assert api.lookup(image(100_600)).labels == []

    send_hashed(platform, {101_200: small})
    eventually(lambda: [each.image_id for each in api.bank("known")] == [image(100_000), image(101_200)])
    (label,) = api.explain(image(101_200)).labels
    assert (label.bank, label.action, label.pdq) == ("known", "block", known)
    assert label.distance <= 31

    again = Run("label_hashes", **(terms | {"hashes": [known]}), reason="listed", dry_run=False).shown
    assert (again["added"], again["matched"], again["labelled"]) == (0, 2, 0)
    assert {row.data["image_id"] for row in again["matches"].records} == {image(100_000), image(101_200)}
    rows = CliRunner().invoke(cli, ["bank", "export", "--hashes"], standalone_mode=False).stdout
    (tmp_path / "hashes.csv").write_text(rows)
    assert said("bank", "import", str(tmp_path / "hashes.csv"))["answers"][0]["hashes"] == 1
    assert said("bank", "add-hash", "known", known, "--policy", "hate", "--action", "block")["matched"] == 2
    refused = Run("label_hashes", **(terms | {"hashes": [known], "action": "review"}), dry_run=False)
    assert "remove it first" in refused.failure
    assert api.label_hashes([64 * "0"], "known", "hate", "block").matches == []
    assert api.unlabel_hash(64 * "0", "known").removed == 1
    assert [each.pdq for each in api.hashes("known")] == [known]
    assert said("bank", "remove-hash", "known", known)["labels_removed"] == 2
    eventually(lambda: "known" not in [each.bank for each in api.banks()])


def pdq_of(picture: Image.Image) -> PdqHash:
    found = pdq_hash(np.asarray(picture.convert("RGB")))
    assert found is not None
    return found


def send_hashed(settings: Settings, pictures: dict[int, Image.Image]) -> None:
    """Publish synthetic vectors with the hashes of pictures."""
    models = read_card(SHIPPED_FOLDER).required_models
    with Sender(settings) as sender:
        for number, picture in pictures.items():
            halves = embeddings(number, models, time.time_ns() // 1_000_000)
            lsh, pair = (replace(half, pdq=pdq_of(picture)) for half in sorted(halves, key=lambda half: half.kind))
            sender.send(JoinedImage(lsh, pair))


def test_an_image_is_traced_and_a_classifier_returns(platform: Settings, api: Client, tmp_path: Path) -> None:
    traced = Run("trace", image_id=image(3)).shown
    assert traced["trace"]["verdict"]["head"] == traced["head"]
    assert traced["image_id_page"].endswith(f"/#/image/{image(3)}")

    assert "no classifier has been promoted" in Run("classifier_rollback").failure
    shipped = read_card(SHIPPED_FOLDER).version
    candidate = variant(tmp_path / "candidate", "0123456789ab")
    publish_classifier(open_s3(platform.s3), platform.s3, tmp_path / "candidate")
    promoted = new_command("load-model", {"version": candidate.version, "force": "true"}, "a test")
    assert run_command(platform.kafka, promoted, 120).accepted
    eventually(api.promotions)
    planned = Run("classifier_rollback").shown
    assert (planned["version"], planned["replaced"], planned["by"]) == (shipped, candidate.version, "a test")
    returned = Run("classifier_rollback", dry_run=False)
    assert (returned.shown["version"], returned.shown["replaced"]) == (shipped, candidate.version)
    eventually(lambda: api.promotions()[0].issued_by == f"Dagster run {returned.run_id}")

    letters = Run("replay_dead_letters", reason="garbage").shown
    assert (letters["dry_run"], letters["sent"]) == (True, 0)
    assert Run("replay_dead_letters", reason="rubbish").failure.startswith("reason is 'rubbish', one of")


def test_a_run_that_is_executed_again_is_the_same_command(platform: Settings, tmp_path: Path) -> None:
    repository = ReconstructableRepository.for_file(str(ROOT / "definitions.py"), "defs", str(ROOT))
    job = ReconstructableJob(repository, "snapshot")
    before = len(list_snapshots(open_s3(platform.s3), platform.s3.bucket))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with dg.execute_job(job, instance) as first:
            assert first.success
        options = dg.ReexecutionOptions(parent_run_id=first.run_id)
        with dg.execute_job(job, instance, reexecution_options=options) as second:
            assert second.success
        sent = [shown_by(instance, run.run_id) for run in (first, second)]
    assert sent[0]["snapshot"] == sent[1]["snapshot"]
    assert sent[0]["command_id"] == sent[1]["command_id"] == f"dagster-{first.run_id}"
    assert len(list_snapshots(open_s3(platform.s3), platform.s3.bucket)) == before + 1


def shown_by(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    (output,) = [
        entry.dagster_event.step_output_data.metadata
        for entry in instance.all_logs(run_id)
        if entry.dagster_event and entry.dagster_event.is_successful_output
    ]
    return {name: value.value for name, value in output.items()}


def test_a_refused_command_fails_without_a_retry_with_its_reason_first(platform: Settings) -> None:
    nowhere = Run("rollback", snapshot="1700000000000-0123abcd", dry_run=False)
    assert nowhere.failure.startswith("there is no snapshot 1700000000000-0123abcd")
    assert nowhere.retries == 0
    in_use = Run("restore_on_empty_machine", dry_run=False)
    assert in_use.failure.startswith("the store that would be replaced holds")
    assert in_use.retries == 0
    filled = Run("restore_on_empty_machine", most_images=1_000, dry_run=False).shown
    newest = list_snapshots(open_s3(platform.s3), platform.s3.bucket)[0]
    assert not isinstance(newest, str)
    assert (filled["snapshot"], filled["images"]) == (newest.snapshot, newest.images)


@pytest.mark.parametrize(
    ("job", "config", "reason"),
    [
        ("reprocess", {"sample": 0}, "sample"),
        ("override", {"action": "move", "image_id": "a.jpg", "dry_run": False}, "override takes the arguments"),
        ("override", {"action": "join", "image_id": "a.jpg", "dry_run": False}, "join"),
        ("override_csv", {"text": "action,image_id\nalone,\n", "dry_run": False}, "line 2"),
        ("override_csv", {"dry_run": False}, "give either text"),
        ("trace", {"image_id": ""}, "image_id"),
        ("forget", {"image_id": "x" * 2_000, "dry_run": False}, "image_id"),
        ("forget_csv", {"text": "image_id\n,\n", "dry_run": False}, "line 2"),
        ("forget_csv", {"dry_run": False}, "give either text"),
        ("snapshot", {"timeout_s": 0}, "timeout_s"),
        ("rollback", {}, "snapshot"),
        ("rollback", {"snapshot": "1700000000000-0123abcd", "dryrun": False}, "dryrun"),
        ("replay_dead_letters", {"since": "yesterday", "dry_run": False}, "since is 'yesterday'"),
        ("reprocess_images", {"dry_run": False}, "no image is chosen"),
        ("reprocess_images", {"image_ids": ["a"], "cluster": "a"}, "not by several of them"),
        ("reprocess_images", {"image_ids": ["unknown"]}, "none of the 1 images is decided"),
        ("reprocess_images", {"image_ids": [".."]}, "names a folder"),
        ("reprocess_images", {"cluster": "unknown"}, "'unknown' is in no cluster"),
        ("reprocess_images", {"since": "noon"}, "since is 'noon'"),
        ("reprocess_images", {"since": "2026-02-01", "until": "2026-01-01"}, "the time range is empty"),
        ("reprocess_images", {"query": "select 1"}, "a query needs the hours"),
        ("reprocess_images", {"cluster": "a", "threshold": 1.5}, "threshold"),
    ],
)
def test_a_wrong_launch_is_refused_before_a_command_is_sent(
    platform: Settings, job: str, config: dict[str, Any], reason: str
) -> None:
    sent = len(read_topic(platform, CONTROL))
    try:
        run = Run(job, **config)
    except dg.DagsterInvalidConfigError as error:
        assert reason in str(error)
    else:
        assert reason in run.failure
        assert run.retries == 0
    assert len(read_topic(platform, CONTROL)) == sent


def test_every_operation_is_a_job_with_described_settings_that_moves_nothing_unless_told() -> None:
    for name, op in OPS.items():
        job = defs.resolve_job_def(name)
        assert job.description
        assert job.tags["neardup/kind"] == "operation"
        (node,) = job.nodes
        assert node.name == op
        fields = job.node_def_named(op).config_schema.config_type.fields
        assert [field for field, schema in fields.items() if not schema.description] == []
        moves = name not in ("snapshot", "trace")
        assert not moves or fields["dry_run"].default_value is True
