"""The `neardup` command: its subcommands; every error becomes one line on stderr."""

import io
import os
import sys
import tomllib

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from neardup_platform import __version__
from neardup_platform.cli.bank_commands import bank
from neardup_platform.cli.bench_commands import bench
from neardup_platform.cli.bootstrap_command import bootstrap
from neardup_platform.cli.cancel_command import cancel
from neardup_platform.cli.cells_commands import cells
from neardup_platform.cli.classifier_commands import classifier
from neardup_platform.cli.clusters_command import clusters
from neardup_platform.cli.compare_command import compare
from neardup_platform.cli.dead_letter_commands import dead_letter
from neardup_platform.cli.evaluate_command import evaluate
from neardup_platform.cli.handover_commands import cut_over, parity
from neardup_platform.cli.ingest_commands import embed, embeddings, ingest
from neardup_platform.cli.output import TOKEN_HINT, complain, say
from neardup_platform.cli.override_commands import forget, override
from neardup_platform.cli.platform_commands import doctor, down, pause, resume, status, up, worker
from neardup_platform.cli.propose_command import propose
from neardup_platform.cli.quality_commands import adapt, train, tune
from neardup_platform.cli.question_commands import explain, history, lookup, members, search
from neardup_platform.cli.report_command import quality_report
from neardup_platform.cli.reprocess_command import reprocess
from neardup_platform.cli.rollback_command import rollback
from neardup_platform.cli.segment_command import ingest_segment
from neardup_platform.cli.size_command import size
from neardup_platform.cli.snapshot_commands import snapshot
from neardup_platform.cli.token_commands import token
from neardup_platform.cli.trace_command import trace
from neardup_platform.cli.what_if_command import what_if
from neardup_platform.errors import AccessDenied, NeardupError
from neardup_platform.settings import setting_error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="neardup")
def cli() -> None:
    """Find near-duplicate images: has this one been seen before, and which are the same?

    Settings come from neardup.toml and NEARDUP_… variables; state is kept under NEARDUP_HOME.
    """


for _command in (
    *(up, down, status, doctor, worker, pause, resume),
    dead_letter,
    token,
    *(ingest, embed, embeddings, lookup, members, clusters, search, explain, history, trace),
    *(override, bank, forget, ingest_segment, bootstrap, snapshot, rollback, reprocess, cancel),
    *(parity, cut_over),
    *(compare, evaluate, train, adapt, classifier, cells, tune, what_if, propose, quality_report, size, bench),
):
    cli.add_command(_command)


def main() -> int:
    """Run a command; return the exit status: 0, 1 for an error, 2 for wrong usage, 130 when interrupted."""
    # TensorFlow's notes on instruction sets must be silenced before it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Characters that the terminal's encoding lacks are escaped.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(prog_name="neardup", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say((shown.getvalue() + _hint(error)).rstrip("\n"), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except NeardupError as error:
        return _fail(f"{error} {TOKEN_HINT}" if isinstance(error, AccessDenied) else str(error))
    except ValidationError as error:
        return _fail("; ".join(setting_error(e["loc"], e["msg"], e.get("input")) for e in error.errors()))
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        return _fail(f"settings: {error}")
    return result if isinstance(result, int) else 0


def _hint(error: click.ClickException) -> str:
    """What to do about an id that was taken for an option."""
    if not isinstance(error, click.NoSuchOption) or error.option_name.startswith("--"):
        return ""
    return "An id or path that begins with - goes after --, as in: neardup lookup -- -dash.jpg"


def _fail(text: str) -> int:
    complain(text)
    return 1
