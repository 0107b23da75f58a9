"""What an operation would do, told before anything is sent: read from S3, Kafka and the API, nothing changed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neardup_platform.client import Client
from neardup_platform.client.answers import Promotion, Status
from neardup_platform.errors import NotFound, ServerUnavailable, SetupError
from neardup_platform.kafka.retention import deleted_since
from neardup_platform.operations.explorer_links import cluster_url, image_url
from neardup_platform.operations.rocksdb_rollback_diff import (
    RollbackDiff,
    compare_stores,
    opened_with_previous,
    opened_with_snapshot,
)
from neardup_platform.s3_client import open_s3
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.settings import Settings
from neardup_platform.stream.snapshots.s3_snapshots import list_snapshots, read_manifest
from neardup_platform.stream.snapshots.snapshot_manifest import Manifest, check_id
from neardup_platform.wire.codec import Log
from neardup_platform.wire.command_arguments import OverrideArguments

_SHOWN = 10
_DESCRIBED = (
    *("snapshot", "taken_ms", "issued_by", "images", "clusters", "sequence", "digest", "bytes"),
    *("classifier_version", "terms_version"),
)


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would put in place of what.

    Attributes:
        restored: what it would restore, by name: totals, digest and versions; of a snapshot, its id and origin too.
        present: what the API answers about the present store; None if it does not answer.
        lost: embeddings since that Kafka has deleted, by `topic[partition]`; None where the number is unknown, because
            the topic was created again. The worker refuses to lose them unless forced.
        diff: what would change, image by image; None if that was not compared.
        not_compared: why not; empty if it was.
    """

    restored: Mapping[str, Any]
    present: Status | None
    lost: Mapping[str, int | None]
    diff: RollbackDiff | None
    not_compared: str

    def flat(self) -> dict[str, Any]:
        """The plan by name, as the command line prints it; what is not known is None."""
        present = self.present
        return {
            "dry_run": True,
            **self.restored,
            "embeddings_lost": dict(self.lost),
            "present_images": present and present.images,
            "present_clusters": present and present.clusters,
            "present_digest": present and present.state_digest,
            "present_classifier_version": present and present.classifier_version,
            **({"not_compared": self.not_compared} if self.diff is None else _flat_diff(self.diff)),
        }

    def examples(self, settings: Settings) -> dict[str, list[dict[str, Any]]]:
        """Some images and clusters of each kind of change, with their pages in the explorer."""
        if self.diff is None:
            return {}
        partition = self.diff.partition
        images = {
            "moved": partition.moved_examples,
            "unknown": partition.gone_examples,
            "returning": partition.new_examples,
        }
        clusters = {"split": partition.split_examples, "merged": partition.merged_examples}
        shown: dict[str, list[dict[str, Any]]] = {
            kind: [{**each._asdict(), "page": image_url(settings, each.image_id)} for each in changes]
            for kind, changes in images.items()
        }
        for kind, changed in clusters.items():
            shown[kind] = [{**each._asdict(), "page": cluster_url(settings, each.head)} for each in changed]
        return {kind: rows for kind, rows in shown.items() if rows}


def _flat_diff(diff: RollbackDiff) -> dict[str, int]:
    partition = diff.partition
    return {
        "images_moved": partition.moved,
        "images_unknown": partition.gone,
        "images_returning": partition.new,
        "clusters_split": partition.split,
        "clusters_merged": partition.merged,
        "overrides_kept": diff.overrides_kept,
        "overrides_unmet": diff.overrides_unmet,
        "forgotten_again": diff.forgotten_again,
    }


def plan_rollback(settings: Settings, snapshot: str, *, compare: bool = True) -> RollbackPlan:
    """What a rollback to a snapshot would do. The worker checks more: every file, classifier, terms and disk.

    Args:
        settings: resolved.
        snapshot: its id.
        compare: also compare all images, and the topics with those that the snapshot has read, which takes as long as a
            download of what the store no longer shares. Needs the worker's machine; elsewhere the plan says why it
            lacks this.

    Raises:
        BadSnapshotId, NotFound, BadArtefact: there is no such snapshot, or its manifest or a file is damaged.
        ServerUnavailable: S3 or Kafka does not answer.
    """
    manifest = read_manifest(open_s3(settings.s3), settings.s3.bucket, check_id(snapshot))
    positions = {_partition(place): offset for place, offset in manifest.positions.items()}
    logs: Mapping[tuple[str, int], Log] = {}
    diff, why = None, "not asked for"
    if compare:
        try:
            with opened_with_snapshot(settings, manifest) as stores:
                diff, logs = compare_stores(stores), stores.restored.positions.logs()
        except SetupError as error:
            why = str(error)
    described = {name: getattr(manifest, name) for name in _DESCRIBED}
    return RollbackPlan(described, _present(settings), deleted_since(settings.kafka, positions, logs), diff, why)


def plan_undo(settings: Settings) -> RollbackPlan:
    """What an undo of the last rollback or reprocess would do.

    Args:
        settings: resolved; of the worker's machine, which keeps the store that was replaced.

    Raises:
        SetupError, BadCommand: there is no store here, or none that was replaced.
        ServerUnavailable: Kafka does not answer, or the stores are being replaced at this moment.
    """
    with opened_with_previous(settings) as stores:
        state, positions = stores.restored.state(), stores.restored.positions
        unpromoted = read_card(settings.scoring.model or SHIPPED_FOLDER).version
        lost = deleted_since(settings.kafka, positions.next_offsets(), positions.logs())
        described = {
            "undo": True,
            **{name: getattr(state, name) for name in ("images", "clusters", "sequence")},
            "digest": state.digest.hex(),
            "classifier_version": state.classifier_version or unpromoted,
            "terms_version": state.terms_version,
        }
        return RollbackPlan(described, _present(settings), lost, compare_stores(stores), "")


def newest_snapshot(settings: Settings) -> str:
    """The id of the newest snapshot whose manifest can be used.

    Raises:
        NotFound: there is none.
        ServerUnavailable: S3 does not answer.
    """
    for each in list_snapshots(open_s3(settings.s3), settings.s3.bucket):
        if isinstance(each, Manifest):
            return each.snapshot
    raise NotFound(f"s3://{settings.s3.bucket} holds no snapshot that can be used: check the bucket (s3.bucket)")


def heads_of(settings: Settings, image_ids: Collection[str]) -> dict[str, str]:
    """The cluster of each image.

    Raises:
        NotFound: some have not been decided, or were forgotten; the text names them.
        ServerUnavailable: the API does not answer.
    """
    with Client.from_settings(settings) as api:
        heads = api.lookup_many(image_ids)
    unknown = [image_id for image_id in image_ids if image_id not in heads]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise NotFound(
            f"{len(unknown)} of {len(image_ids)} images are not known: "
            f"{', '.join(repr(each[:128]) for each in unknown[:_SHOWN])}{more}: they have not been decided, or were "
            "forgotten"
        )
    return heads


def images_named(corrections: Iterable[OverrideArguments]) -> list[str]:
    """The images that overrides name, each once."""
    named: dict[str, None] = {}
    for each in corrections:
        values = each.model_dump()
        named |= {values[name]: None for name in ("image_id", "other_id") if name in values}
        named |= dict.fromkeys(values.get("image_ids", ()))
    return list(named)


def last_promotion(settings: Settings) -> Promotion:
    """The last change of the active classifier: `replaced` is what to return to.

    Raises:
        NotFound: no classifier has been promoted.
        ServerUnavailable: the API does not answer.
    """
    with Client.from_settings(settings) as api:
        promotions = api.promotions()
    if not promotions:
        raise NotFound("no classifier has been promoted here, so there is none to return to")
    return promotions[0]


def _present(settings: Settings) -> Status | None:
    try:
        with Client.from_settings(settings, attempts=1) as api:
            return api.status()
    except ServerUnavailable:
        return None


def _partition(place: str) -> tuple[str, int]:
    """Topic and number of `topic[partition]`."""
    topic, _, number = place.removesuffix("]").rpartition("[")
    return topic, int(number)
