import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._config import ConfigType, ConfigTypeKind, Field
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests_with_backfill_policies
from dagster._core.definitions.events import AssetKeyPartitionKey

from assets.topic_logs import hours
from definitions import defs
from resources.code_references import code_reference
from resources.versions import VERSION, given, versions
from tests.dagster.supervised import ROOT


def test_loading_imports_neither_tensorflow_nor_a_client_library() -> None:
    heavy = ["tensorflow", "keras", "numba", "faiss", "sklearn", "kafka", "boto3", "pyarrow", "duckdb"]
    program = (
        "import sys, definitions\n"
        "definitions.defs.get_repository_def().load_all_definitions()\n"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []


def test_loading_needs_no_settings_and_creates_no_files(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEARDUP_")}
    home = tmp_path / "home"
    subprocess.run(
        [sys.executable, "-c", "import definitions"],
        cwd=ROOT,
        env={**environment, "NEARDUP_HOME": str(home)},
        check=True,
    )
    assert not home.exists()


def test_the_sensor_and_the_schedule_run_by_default() -> None:
    assert defs.resolve_sensor_def("stream_worker_sensor").default_status is dg.DefaultSensorStatus.RUNNING
    assert defs.resolve_sensor_def("snapshots_sensor").default_status is dg.DefaultSensorStatus.RUNNING
    for name in ("logs_hourly_schedule", "snapshot_hourly"):
        assert defs.resolve_schedule_def(name).default_status is dg.DefaultScheduleStatus.RUNNING


def test_every_job_has_a_description() -> None:
    jobs = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    assert {job.name for job in jobs} >= {"stream_worker", "pause_stream_worker", "resume_stream_worker"}
    assert [job.name for job in jobs if not job.description] == []


def described() -> dict[str, str]:
    """Every description that the UI shows, by the object it describes."""
    repository = defs.get_repository_def()
    repository.load_all_definitions()
    graph = defs.resolve_asset_graph()
    found = {f"asset {key.to_user_string()}": graph.get(key).description for key in graph.get_all_asset_keys()}
    for check in graph.asset_check_keys:
        found[f"check {check.name}"] = graph.get_check_spec(check).description
    for job in repository.get_all_jobs():
        found[f"job {job.name}"] = job.description
        for node in job.all_node_defs:
            found[f"op {node.name}"] = node.description
            found |= {f"output {node.name} {output.name}": output.description for output in node.output_defs}
        for key, kind in config_fields(job.run_config_schema.config_type):
            found[f"config {job.name} {key}"] = kind.description
    found |= {f"sensor {sensor.name}": sensor.description for sensor in repository.sensor_defs}
    found |= {f"schedule {schedule.name}": schedule.description for schedule in repository.schedule_defs}
    found |= {
        f"resource {name}": resource.description for name, resource in repository.get_top_level_resources().items()
    }
    return {name: text for name, text in found.items() if text}


def config_fields(config_type: ConfigType, path: str = "") -> Iterator[tuple[str, Field]]:
    """Every configuration field that a launch can set, at any depth."""
    if ConfigTypeKind.has_fields(config_type.kind):
        for name, field in config_type.fields.items():  # type: ignore[attr-defined]
            yield f"{path}/{name}", field
            yield from config_fields(field.config_type, f"{path}/{name}")
    inner = getattr(config_type, "inner_type", None)
    if inner is not None:
        yield from config_fields(inner, path)


def test_no_placeholder_in_a_description_reads_as_html() -> None:
    texts = described()
    assert "asset pair_classifier" in texts
    assert "check offsets_are_continuous" in texts
    shown = {name: re.sub(r"`[^`]*`", "", text) for name, text in texts.items()}
    assert {name: text for name, text in shown.items() if re.search(r"<[A-Za-z/!?]|&[a-z]+;", text)} == {}


def test_what_the_ui_shows_as_plain_text_has_no_markup() -> None:
    """Descriptions of assets, jobs and fields are rendered as Markdown, the others are not."""
    plain = {name: text for name, text in described().items() if name.split()[0] in ("sensor", "schedule", "check")}
    assert {"sensor data_sets_sensor", "schedule snapshot_hourly", "check no_hour_is_broken"} <= plain.keys()
    assert {name: text for name, text in plain.items() if re.search(r"[`*]{1,2}\w|\]\(", text)} == {}


def test_a_launch_can_set_no_program_and_no_pickle() -> None:
    """A launch chooses where labelled pictures and overrides are read from; nothing is run, loaded or written there."""
    repository = defs.get_repository_def()
    settable: set[str] = set()
    for job in repository.get_all_jobs():
        asset_keys = job.asset_layer.executable_asset_keys
        parts = [repository.get_maybe_subset_job_def(job.name, asset_selection={key}) for key in asset_keys]
        for part in (job, *parts):
            settable |= {key for key, _ in config_fields(part.run_config_schema.config_type)}
    steps = {key.split("/", 4)[4] for key in settable if re.match("/ops/[^/]+/config/", key)}
    training = {"manifests", "diverse", "manifest", "recall", "images", "least_images", "force", "timeout_s"}
    operations = {"dry_run", "sample", "snapshot", "most_images", "reason", "since", "event_ids"}
    operations |= {"scheduled", "keep", "older_than_h", "read_files", "compare"}
    overrides = {"action", "image_id", "other_id", "image_ids", "override_id", "text", "file"}
    redeciding = {
        "cluster",
        "query",
        "until",
        "decided_by",
        "threshold",
        "head_threshold",
        "images_per_s",
        "command_id",
    }
    quality = {"match", "head", "classifier", "hours", "most_pairs", "terms", "clusters"}
    labels = {"bank", "policy", "remove", "hashes"}
    handover = {"publish_differences"}
    loading = {"skip_bad", "again"}
    fitting = {"use"}
    assert steps == training | operations | overrides | redeciding | quality | labels | handover | loading | fitting
    assert {key for key in settable if re.match("/ops/[^/]+/(inputs|outputs)", key)} == set()
    resources = {f"/resources/{name}{config}" for name in ("platform", "io_manager") for config in ("", "/config")}
    assert {key for key in settable if re.match("/resources/", key)} <= resources


def test_every_asset_says_whose_it_is_and_what_it_is_made_of() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name != "default", key
        assert node.owners, key
        assert node.kinds, key
        assert "neardup/kind" in node.tags, key


def test_a_backfill_is_a_run_for_each_hour_that_knows_its_hour() -> None:
    """A run with a range of one hour has no key: checks would neither find their hour nor be recorded for it."""
    graph, keys = defs.resolve_asset_graph(), ["2026-03-01-12:00", "2026-03-01-13:00"]
    hourly = {key for key in graph.materializable_asset_keys if graph.get(key).partitions_def == hours}
    assert {dg.AssetKey(["logs", "decisions"]), dg.AssetKey(["quality", "drift"])} <= hourly
    chosen = [AssetKeyPartitionKey(asset, key) for asset in hourly for key in keys]
    with dg.DagsterInstance.ephemeral() as instance:
        requests = build_run_requests_with_backfill_policies(chosen, graph, instance)
    assert sorted(str(request.partition_key) for request in requests) == keys
    assert all(set(request.asset_selection or ()) == hourly for request in requests)
    assert {graph.get(key).backfill_policy for key in graph.materializable_asset_keys} == {None}


@pytest.mark.parametrize(
    ("variables", "reference"),
    [
        ({}, None),
        ({"NEARDUP_DAGSTER_SOURCE_URL": "https://example.org/n/"}, "https://example.org/n/assets/decisions_log.py"),
        ({"DAGSTER_IS_DEV_CLI": "1"}, f"{ROOT}/assets/decisions_log.py:1"),
    ],
)
def test_assets_link_to_their_code_where_that_gives_no_path_away(
    variables: dict[str, str], reference: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NEARDUP_DAGSTER_SOURCE_URL", "DAGSTER_IS_DEV_CLI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = code_reference(str(ROOT / "assets" / "decisions_log.py")).get("dagster/code_references")
    assert (found.code_references[0].source if found else None) == reference


def test_every_asset_is_linked() -> None:
    program = (
        "import definitions; graph = definitions.defs.resolve_asset_graph(); "
        "linked = [graph.get(key).metadata.get('dagster/code_references') for key in graph.get_all_asset_keys()]; "
        "print(len(linked), len({each.code_references[0].url for each in linked}))"
    )
    environment = {**os.environ, "NEARDUP_DAGSTER_SOURCE_URL": "https://example.org/n"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    # The logs of topics share a file, and so do the reports.
    assert done.stdout.split() == ["34", "20"]


def test_what_computes_in_a_run_is_in_the_pool_that_leaves_room_for_the_stream() -> None:
    assets = defs.get_repository_def().assets_defs_by_key.values()
    pools = {asset.key.to_user_string(): asset.op.pool for asset in assets if asset.is_executable}
    waits_for_the_worker = {"promoted_classifier"}
    assert {key for key, pool in pools.items() if pool is None} == waits_for_the_worker
    # A load takes hours and waits for the worker most of the time: it must not hold up what computes.
    assert {key for key, pool in pools.items() if pool == "bootstrap"} == {"bootstrap/images"}
    assert {pool for pool in pools.values() if pool} == {"batch", "bootstrap"}


def test_only_versions_pass_from_asset_to_asset_as_text(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        resources = {"io_manager": versions}

        @dg.asset(dagster_type=VERSION)
        def first() -> str:
            return "v1"

        @dg.asset(ins=given("first"))
        def second(first: str) -> None:
            seen.append(first)

        @dg.asset
        def third() -> dict[str, int]:
            return {}

        seen: list[str] = []
        assert dg.materialize([first], instance=instance, resources=resources).success
        launch = {"resources": {"io_manager": {"config": {"base_dir": "/nowhere"}}}}
        assert dg.materialize(
            [first, second], selection=[second], instance=instance, resources=resources, run_config=launch
        ).success
        assert seen == ["v1"]
        refused = dg.materialize([third], instance=instance, resources=resources, raise_on_error=False)
        assert not refused.success
        key = "neardup/version/first"
        assert instance.daemon_cursor_storage.get_cursor_values({key}) == {key: "v1"}


@pytest.mark.slow
def test_dg_checks_and_lists_the_definitions(tmp_path: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"}
    dg_command = Path(sys.executable).with_name("dg")

    def dg_says(*arguments: str) -> str:
        answer = subprocess.run(
            [dg_command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr[-2_000:]
        return answer.stdout

    assert "All definitions loaded successfully" in dg_says("check", "defs") + dg_says("check", "toml")
    listed = json.loads(dg_says("list", "defs", "--json"))
    assert {asset["asset_key"] for asset in listed["assets"]} >= {"logs/decisions", "pair_classifier"}


def test_the_workspace_loads_this_location_from_any_folder(tmp_path: Path) -> None:
    entry = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_file"]
    assert (ROOT / entry["working_directory"] / entry["relative_path"]).samefile(ROOT / "definitions.py")
    answer = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")],
        cwd=tmp_path,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2_000:]
