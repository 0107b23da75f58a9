"""`neardup bootstrap`: loads an existing corpus from S3, or shows what is there."""

from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, progress_bar, report
from neardup_platform.counted import counted
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings


@click.command(epilog="Example:  neardup bootstrap shop-2024 --check")
@click.argument("name", required=False)
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="First upload the .parquet files of a folder on this machine and its subfolders, with a manifest.",
)
@click.option("--check", is_flag=True, help="Check every row and load nothing; exit status 1 if a row is bad.")
@click.option("--skip-bad", is_flag=True, help="Skip and count bad rows; without it, a bad row refuses the data set.")
@click.option("--again", is_flag=True, help="Load a version that was loaded before: the store was replaced since.")
@json_option
def bootstrap(
    name: str | None, folder: Path | None, check: bool, skip_bad: bool, again: bool, as_json: bool
) -> int | None:
    """Load the data set NAME, Parquet files on S3; without NAME list the data sets.

    Images with a given head keep it, the others are decided in order of event time. The same command continues a load
    that was interrupted.
    """
    settings = resolve(Settings())
    if name is None:
        if folder or check or skip_bad or again:
            raise click.UsageError("NAME is missing")
        emit(_listed(settings), as_json, _describe_list)
        return 0
    from neardup_platform.bootstrap.elsewhere import elsewhere_in_words
    from neardup_platform.bootstrap.report import check_in_words, read_report
    from neardup_platform.operations.kafka_bootstrap import Bootstrap, bootstrapped_in_words

    if folder is not None:
        # What is only checked must not be loaded by the sensor, which finds what is complete within a minute.
        _upload(settings, name, folder, hold=check)
    load = Bootstrap(settings, name, None, "command line", report)
    done = load.check() if check else load.run(skip_bad=skip_bad, again=again)

    def describe(answer: dict[str, Any]) -> str:
        fields = {each: answer[each] for each in done.check.flat()}
        lines = [check_in_words(read_report(fields)), bootstrapped_in_words(answer)]
        lines += elsewhere_in_words((done.loaded or {}).get("elsewhere", 0), done.elsewhere)
        lines.append(f"report: {answer['report']}")
        return "\n".join([*lines, f"bad rows: {answer['bad_rows']}"] if answer["bad_rows"] else lines)

    emit(done.flat(), as_json, describe)
    return 1 if check and done.check.bad_rows else 0


def _upload(settings: Settings, name: str, folder: Path, *, hold: bool) -> None:
    from neardup_platform.bootstrap.s3_data_sets import files_of, put_data_set
    from neardup_platform.s3_client import ensure_bucket, open_s3

    s3 = open_s3(settings.s3)
    ensure_bucket(s3, settings.s3)
    with progress_bar("uploading files", len(files_of(folder))) as progress:
        put_data_set(s3, settings.s3.bucket, settings.bootstrap.prefix, name, folder, progress, hold=hold)


def _listed(settings: Settings) -> dict[str, Any]:
    from neardup_platform.bootstrap.s3_data_sets import find_data_sets
    from neardup_platform.bootstrap.s3_progress import is_finished
    from neardup_platform.operations.kafka_bootstrap import load_name
    from neardup_platform.s3_client import open_s3

    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    found = find_data_sets(s3, bucket, settings.bootstrap.prefix)
    return {
        "place": f"s3://{bucket}/{settings.bootstrap.prefix}",
        "complete": [
            {
                "name": each.name,
                "version": each.version,
                "files": len(each.files),
                "bytes": sum(file.size for file in each.files),
                "loaded": is_finished(s3, bucket, load_name(each)),
            }
            for each in found.complete
        ],
        "incomplete": [{"name": each.name, "why": each.why} for each in found.incomplete],
    }


def _describe_list(answer: dict[str, Any]) -> str:
    lines = [
        f"{each['name']}@{each['version']}  {counted(each['files'], 'file')}, {each['bytes'] / 1e6:.1f} MB, "
        f"{'loaded' if each['loaded'] else 'not loaded'}"
        for each in answer["complete"]
    ]
    lines += [f"{each['name']}  incomplete: {each['why']}" for each in answer["incomplete"]]
    return "\n".join(lines) or f"no data set is in {answer['place']}: see docs/tasks/bootstrap.md"
