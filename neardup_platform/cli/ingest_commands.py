"""`neardup ingest`: pictures or vectors in."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neardup_platform.batch.skipped import in_words
from neardup_platform.cli.output import Api, emit, image_path, json_option, load_tensorflow, progress_bar
from neardup_platform.embedded.endpoints import resolve
from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.settings import Settings

if TYPE_CHECKING:
    from neardup_platform.batch.kafka_ingest import Ingested

POLL_S = 0.05


@click.command(epilog="Example:  neardup ingest holiday/ s3://bucket/prefix --wait")
@click.argument("paths", nargs=-1)
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Parquet with image_id, lsh, pair: publish vectors you already have.",
)
@click.option("--wait", is_flag=True, help="Return when every image has been decided.")
@click.option("--timeout", "timeout_s", type=float, default=300.0, show_default=True, help="Of --wait, seconds.")
@json_option
def ingest(paths: tuple[str, ...], embeddings: Path | None, wait: bool, timeout_s: float, as_json: bool) -> int:
    """Decode, embed and publish pictures, folders and s3:// prefixes.

    An image's id is its path relative to the folder or prefix given.
    """
    if bool(paths) == bool(embeddings):
        raise click.UsageError("give either PATHS or --embeddings")
    from neardup_platform.batch.kafka_ingest import ingest_pictures, ingest_vectors
    from neardup_platform.images.embedders import load_embedders, model_specs
    from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card

    settings = resolve(Settings())
    with progress_bar("embedding and publishing", None) as progress:
        if embeddings:
            ingested = ingest_vectors(embeddings, settings, progress)
        else:
            load_tensorflow()
            embedders = load_embedders(settings.images)
            # What the worker would only dead-letter is refused here.
            read_card(settings.scoring.model or SHIPPED_FOLDER).check_embedders(model_specs(embedders))
            ingested = ingest_pictures(paths, embedders, settings, progress)
    for refused in ingested.refused:
        click.echo(f"neardup: refused {refused.place}: {refused.reason}", err=True)
    decided = _wait(ingested.image_ids, Api(settings), timeout_s) if wait else None
    emit(_answer(ingested, decided), as_json, _describe)
    return 0 if ingested.image_ids else 1


def _wait(image_ids: Sequence[str], api: Api, timeout_s: float) -> int:
    """Wait until each image is readable; returns how many are."""
    deadline = time.monotonic() + timeout_s
    decided = 0
    with progress_bar("deciding", len(image_ids)) as progress:
        for image_id in image_ids:
            while not _is_decided(api, image_id):
                if time.monotonic() > deadline:
                    raise ServerUnavailable(
                        f"{decided} of {len(image_ids)} images decided after {timeout_s:.0f} s, {image_id!r} is not; "
                        "the rest is in Kafka and not lost: see `neardup status`"
                    )
                time.sleep(POLL_S)
            decided += 1
            progress(1)
    return decided


def _is_decided(api: Api, image_id: str) -> bool:
    try:
        api.get(image_path(image_id))
    except NotFound:
        return False
    return True


def _answer(ingested: "Ingested", decided: int | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "published": len(ingested.image_ids),
        "refused": [{"place": r.place, "reason": r.reason} for r in ingested.refused],
        "skipped": ingested.skipped.as_json(),
    }
    return answer if decided is None else {**answer, "decided": decided}


def _describe(answer: dict[str, Any]) -> str:
    decided = f", {answer['decided']} decided" if "decided" in answer else ""
    skipped = in_words(answer["skipped"])
    return "\n".join(
        [
            f"{answer['published']} images published{decided}, {len(answer['refused'])} refused",
            *([skipped] * bool(skipped)),
        ]
    )
