"""Dagster: assets, checks, jobs, schedules and sensors, from the definitions of the code location."""

import dagster as dg

from definitions import defs
from scripts.reference.markdown import code, page, table


def dagster_page() -> str:
    """Everything that the code location defines."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    assets = [
        (code(key.to_user_string()), node.group_name or "", node.description or "")
        for key in sorted(graph.get_all_asset_keys())
        for node in [graph.get(key)]
    ]
    checks = [
        (code(key.name), code(key.asset_key.to_user_string()), graph.get_check_spec(key).description or "")
        for key in sorted(graph.asset_check_keys)
    ]
    jobs = [
        (code(job.name), job.description or "") for job in repository.get_all_jobs() if not job.name.startswith("__")
    ]
    return page(
        "Dagster",
        "What `definitions.py` defines. [How to use it](../dagster.md).",
        "## Assets",
        table(("asset", "group", "what it is"), assets),
        "## Checks",
        table(("check", "of", "what it checks"), checks),
        "## Jobs",
        table(("job", "does"), jobs),
        "## Schedules and sensors",
        table(("name", "launches", "default", "does"), [*_schedules(repository), *_sensors(repository)]),
    )


def _schedules(repository: dg.RepositoryDefinition) -> list[tuple[str, str, str, str]]:
    return [
        (
            code(each.name),
            code(each.job_name),
            each.default_status.value.lower(),
            each.description or str(each.cron_schedule),
        )
        for each in repository.schedule_defs
    ]


def _sensors(repository: dg.RepositoryDefinition) -> list[tuple[str, str, str, str]]:
    return [
        (
            code(each.name),
            code(each.job_name or "") if each.has_jobs else "",
            each.default_status.value.lower(),
            each.description or "",
        )
        for each in repository.sensor_defs
    ]
