"""The asset `pair_classifier`: trained and calibrated on `training_pairs`, published to the registry on S3.

training_pairs → **pair_classifier** → classifier_evaluation → promoted_classifier. Publishing does not affect the
stream: the worker keeps its classifier.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.table_metadata import URI
from assets.training_pairs import GROUP
from resources.code_references import code_reference
from resources.platform import PlatformResource
from resources.versions import VERSION, given

if TYPE_CHECKING:
    from neardup_platform.scoring.card import Card


@dg.asset(
    pool="batch",
    ins=given("training_pairs"),
    dagster_type=VERSION,
    group_name=GROUP,
    kinds={"tensorflow", "s3"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    description="A classifier trained and calibrated on the part of training_pairs that is not held out, with its "
    "card, under `s3://<bucket>/classifiers/<version>/`. If the resulting version already exists, it is kept.",
)
def pair_classifier(
    context: dg.AssetExecutionContext, training_pairs: str, platform: PlatformResource
) -> dg.MaterializeResult[str]:
    """Train and publish; the value is the version."""
    from neardup_platform.learning.classifier.s3_registry import PREFIX, is_published, publish
    from neardup_platform.learning.classifier.s3_training_data import get_training_data
    from neardup_platform.learning.classifier.train_classifier import train_on_sets
    from neardup_platform.s3_client import open_s3

    settings = platform.settings()
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    data = get_training_data(s3, settings.s3, training_pairs)
    with TemporaryDirectory(prefix="neardup-train-") as folder:
        card = train_on_sets(data.train, data.altered, Path(folder), data.recipe)
        if is_published(s3, bucket, card.version):
            context.log.info("classifier %s is already in the registry", card.version)
        else:
            publish(s3, settings.s3, Path(folder))
    uri = f"s3://{bucket}/{PREFIX}/{card.version}/"
    return dg.MaterializeResult(
        value=card.version,
        metadata={**metadata(card, uri), "training_pairs": dg.MetadataValue.text(training_pairs)},
        data_version=dg.DataVersion(card.version),
    )


def metadata(card: "Card", uri: str) -> dict[str, Any]:
    """Dagster metadata of a classifier: its card, with metrics cross-validated by group."""
    at = card.metrics["at_threshold"]
    return {
        "version": dg.MetadataValue.text(card.version),
        URI: uri,
        "threshold": dg.MetadataValue.float(card.threshold),
        "head_threshold": dg.MetadataValue.float(card.head_threshold),
        "precision_at_threshold": dg.MetadataValue.float(at["precision"]),
        "precision_95_low": dg.MetadataValue.float(at["precision_95_low"]),
        "recall_at_threshold": dg.MetadataValue.float(at["recall"]),
        "recall_at_p99": dg.MetadataValue.float(card.metrics["pair_recall_at_p99"]),
        "card": dg.MetadataValue.json({"training": dict(card.training), "metrics": dict(card.metrics)}),
    }
