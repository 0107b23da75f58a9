"""`neardup ingest`, `embed` and `embeddings`: pictures or vectors in, and what vectors are accepted."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neardup_platform.cli.output import api_client, complain, emit, json_option, load_tensorflow, progress_bar
from neardup_platform.counted import counted
from neardup_platform.errors import NeardupError, NotFound, ServerUnavailable
from neardup_platform.ingest.skipped_files import in_words
from neardup_platform.records import Kind
from neardup_platform.scoring.active_models import ActiveModel, active_models
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings

if TYPE_CHECKING:
    from neardup_platform.client import Client
    from neardup_platform.images.embedder import Embedder
    from neardup_platform.ingest.arrivals import Ingested, KnownImage
    from neardup_platform.ingest.kafka_outcomes import Follower, Outcomes

# Refused pictures and dead letters that are printed; --json has all of them.
_NAMED = 100


@click.command(epilog="Example:  neardup ingest holiday/ s3://bucket/prefix --wait")
@click.argument("paths", nargs=-1)
@click.option(
    "--embeddings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Parquet with image_id, lsh, pair, lsh_version, pair_version: publish existing vectors.",
)
@click.option(
    "--replace", "replaces", is_flag=True, help="Replace images that are known with another picture or vector."
)
@click.option("--wait", is_flag=True, help="Return when the worker has decided or refused every image.")
@click.option(
    "--timeout", "timeout_s", type=float, default=300.0, show_default=True, help="Seconds to wait with --wait."
)
@json_option
def ingest(
    paths: tuple[str, ...], embeddings: Path | None, replaces: bool, wait: bool, timeout_s: float, as_json: bool
) -> int:
    """Decode, embed and publish pictures, folders and s3:// prefixes.

    An image's id is its path relative to the folder or prefix given. The same picture again changes nothing; another
    one under a known id is refused unless --replace is given. Exit status 1 if anything was refused.
    """
    if bool(paths) == bool(embeddings):
        raise click.UsageError("use either PATHS or --embeddings")
    from neardup_platform.ingest.kafka_outcomes import Follower
    from neardup_platform.ingest.kafka_pictures import ingest_pictures
    from neardup_platform.ingest.kafka_vectors import ingest_vectors

    settings = resolve(Settings())
    with api_client(settings) as api:
        models = _active(settings, api)[0]
        follower = Follower(settings.kafka) if wait else None
        with progress_bar("embedding and publishing", None) as progress:
            if embeddings:
                ingested = ingest_vectors(embeddings, settings, models, progress, replaces=replaces)
            else:
                embedders = _embedders(settings, models)
                ingested = ingest_pictures(
                    paths, embedders, settings, models, progress, lookup=_Known(api), replaces=replaces
                )
        _name_refused(ingested)
        outcomes = _follow(follower, ingested, api, timeout_s) if follower else None
    emit(_answer(ingested, outcomes), as_json, _describe)
    return 0 if _succeeded(ingested, outcomes) else 1


@click.command(epilog="Example:  neardup embed holiday/ --out holiday.parquet")
@click.argument("paths", nargs=-1, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Parquet file to write.")
@json_option
def embed(paths: tuple[str, ...], out: Path, as_json: bool) -> int:
    """Write the vectors of pictures to a file and publish nothing.

    `ingest --embeddings` and `ingest-segment` accept the file. Exit status 1 if a picture was refused.
    """
    from neardup_platform.ingest.picture_batches import embed_to_file

    settings = resolve(Settings()) if any(path.startswith("s3://") for path in paths) else Settings()
    with progress_bar("embedding", None) as progress:
        ingested = embed_to_file(paths, _embedders(settings, active_models(settings)), settings, out, progress)
    _name_refused(ingested)
    counts = _answer(ingested, None)
    answer = {"file": str(out), "written": counts.pop("published"), **counts}
    emit(answer, as_json, _describe_embedded)
    return 0 if _succeeded(ingested, None) else 1


@click.command(epilog="Example:  neardup embeddings")
@json_option
def embeddings(as_json: bool) -> None:
    """Show which embeddings are accepted: model versions and dimensions of both kinds."""
    try:
        settings = resolve(Settings())
        with api_client(settings) as api:
            models, source, classifier = _active(settings, api)
    except ServerUnavailable:
        models, source, classifier = active_models(Settings()), "settings", ""
    answer = {
        "models": {
            kind.value: {"version": model.version, "dim": model.dim, "newer": list(model.newer)}
            for kind, model in models.items()
        },
        "classifier_version": classifier,
        "source": source,
    }
    emit(answer, as_json, _describe_embeddings)


def _active(settings: Settings, api: "Client") -> tuple[dict[Kind, ActiveModel], str, str]:
    """Accepted models, their source (the API, else the settings), and the active classifier's version if known."""
    try:
        status = api.status()
    except NeardupError:
        return active_models(settings), "settings", ""
    if not status.models:
        return active_models(settings), "settings", ""
    reported = {kind: status.models[kind.value] for kind in (Kind.LSH, Kind.PAIR)}
    models = {kind: ActiveModel(each.version, each.dim, tuple(each.newer)) for kind, each in reported.items()}
    return models, "api", status.classifier_version


def _embedders(settings: Settings, models: dict[Kind, ActiveModel]) -> "Sequence[Embedder]":
    """The embedders of the settings.

    Raises:
        BadArtefact: the worker does not accept their embeddings.
    """
    from neardup_platform.images.active_embedders import load_embedders, model_specs
    from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card

    load_tensorflow()
    found = load_embedders(settings.images)
    specs = model_specs(found)
    if any(spec.version not in models[kind].newer for kind, spec in specs.items() if spec != models[kind].spec):
        read_card(settings.scoring.model or SHIPPED_FOLDER).check_embedders(specs)
    return found


class _Known:
    """Looks ids up in the API until it no longer answers."""

    def __init__(self, api: "Client") -> None:
        self._api: Client | None = api

    def __call__(self, image_id: str) -> "KnownImage | None":
        from neardup_platform.ingest.arrivals import KnownImage

        if self._api is None:
            return None
        try:
            found = self._api.lookup(image_id)
        except NotFound:
            return None
        except NeardupError:
            self._api = None
            return None
        return KnownImage(found.source_uri, found.event_time_ms)


def _follow(follower: "Follower", ingested: "Ingested", api: "Client", timeout_s: float) -> "Outcomes":
    def event_time_ms(image_id: str) -> int | None:
        try:
            return api.lookup(image_id).event_time_ms
        except NotFound:
            return None

    with progress_bar("deciding", len(ingested.images)) as progress:
        return follower.outcomes(
            ingested.images, ingested.places, lambda: asdict(api.status()), event_time_ms, timeout_s, progress
        )


def _name_refused(ingested: "Ingested") -> None:
    for refused in ingested.refused[:_NAMED]:
        complain(f"refused {refused.place}: {refused.reason}")
    if len(ingested.refused) > _NAMED:
        complain(f"{len(ingested.refused) - _NAMED} more were refused: --json lists them")


def _succeeded(ingested: "Ingested", outcomes: "Outcomes | None") -> bool:
    taken = bool(ingested.images or ingested.repeated)
    return taken and not ingested.refused and not (outcomes and outcomes.dead)


def _answer(ingested: "Ingested", outcomes: "Outcomes | None") -> dict[str, Any]:
    answer: dict[str, Any] = {
        "published": len(ingested.images),
        "repeated": ingested.repeated,
        "refused": [{"place": r.place, "reason": r.reason} for r in ingested.refused],
        "skipped": ingested.skipped.as_json(),
    }
    if outcomes is None:
        return answer
    dead = [
        {"image_id": d.image_id, "reason": d.reason, "detail": d.detail, "place": d.place}
        for d in outcomes.dead.values()
    ]
    repeated = ingested.repeated + outcomes.repeated
    return {**answer, "repeated": repeated, "decided": ingested.repeated + outcomes.decided, "dead_letters": dead}


def _describe(answer: dict[str, Any]) -> str:
    decided = f", {answer['decided']} decided" if "decided" in answer else ""
    repeated = f", {answer['repeated']} known already" if answer["repeated"] else ""
    lines = [f"{counted(answer['published'], 'image')} published{decided}{repeated}, {len(answer['refused'])} refused"]
    dead = answer.get("dead_letters", [])
    if dead:
        lines.append(f"{counted(len(dead), 'message')} refused by the worker:")
        lines += [f"  {d['image_id']}: {d['reason']}: {d['detail']} ({d['place']})" for d in dead[:_NAMED]]
    if "decided" not in answer and answer["published"]:
        lines.append("use --wait to see what becomes of them; `neardup dead-letter list` shows what the worker refuses")
    return "\n".join([*lines, *filter(None, [in_words(answer["skipped"])])])


def _describe_embedded(answer: dict[str, Any]) -> str:
    repeated = f", {answer['repeated']} given twice" if answer["repeated"] else ""
    line = (
        f"{counted(answer['written'], 'image')} written to {answer['file']}{repeated}, {len(answer['refused'])} refused"
    )
    return "\n".join([line, *filter(None, [in_words(answer["skipped"])])])


def _describe_embeddings(answer: dict[str, Any]) -> str:
    lines = []
    for kind, model in answer["models"].items():
        newer = f"; newer: {', '.join(model['newer'])}" if model["newer"] else ""
        lines.append(f"{kind:>4}  version {model['version']}, {model['dim']} dimensions{newer}")
    summary = f"active classifier {answer['classifier_version'] or 'unknown'}"
    lines.append(summary if answer["source"] == "api" else "from the settings here: the API does not answer")
    return "\n".join(lines)
