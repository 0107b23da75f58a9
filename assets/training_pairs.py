"""The asset `training_pairs`: labelled pictures, split by group into training and held-out parts, and their pairs.

First step to another classifier: **training_pairs** → pair_classifier → classifier_evaluation → promoted_classifier.
TensorFlow and Arrow are imported at materialisation.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.table_metadata import ROWS, URI, columns
from resources.code_references import code_reference
from resources.platform import PlatformResource
from resources.versions import VERSION

if TYPE_CHECKING:
    from neardup_platform.learning.classifier.training_data import TrainingData

GROUP = "classifier"


class TrainingPairsConfig(dg.Config):
    """Which pictures to train on and to evaluate with."""

    manifests: list[str] = Field(
        min_length=1, description="CSV files with the columns file and group, as for `neardup train`."
    )
    diverse: str | None = Field(None, description="CSV with the column file: pictures to make altered copies of.")


@dg.asset(
    pool="batch",
    dagster_type=VERSION,
    group_name=GROUP,
    kinds={"tensorflow", "parquet", "s3"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    description="Pictures of the manifests as vectors, one group in five held out by its name, and for each part the "
    "pairs that a search would find plus all true ones: Parquet under `s3://<bucket>/training/<version>/`.",
)
def training_pairs(
    context: dg.AssetExecutionContext, config: TrainingPairsConfig, platform: PlatformResource
) -> dg.MaterializeResult[str]:
    """Embed, split, mine and store; the value is the version."""
    from neardup_platform.images.active_embedders import load_embedders
    from neardup_platform.learning.classifier.s3_training_data import PREFIX, put_training_data
    from neardup_platform.learning.classifier.training_data import gather
    from neardup_platform.s3_client import open_s3

    settings = platform.settings()
    manifests, diverse = [Path(each) for each in config.manifests], Path(config.diverse) if config.diverse else None
    context.log.info("embedding the pictures of %s", [str(each) for each in manifests])
    data = gather(manifests, diverse, load_embedders(settings.images), settings.images)
    version = put_training_data(open_s3(settings.s3), settings.s3, data)
    uri = f"s3://{settings.s3.bucket}/{PREFIX}/{version}/"
    return dg.MaterializeResult(value=version, metadata=metadata(data, uri), data_version=dg.DataVersion(version))


def metadata(data: "TrainingData", uri: str) -> dict[str, Any]:
    """Dagster metadata of training data."""
    from neardup_platform.learning.classifier.s3_training_data import DESCRIBED, pair_columns

    sides = {"train": (data.train, data.train_pairs), "held out": (data.held_out, data.held_out_pairs)}
    counts = [
        dg.TableRecord(
            {
                "part": part,
                "pictures": len(pictures.fingerprints),
                "groups": len({group for group in pictures.pictures.groups if group}),
                "distractors": sum(not group for group in pictures.pictures.groups),
                "pairs": len(pairs.a),
                "true pairs": int(pairs.same.sum()),
            }
        )
        for part, (pictures, pairs) in sides.items()
    ]
    return {
        URI: uri,
        ROWS: len(data.train_pairs.a) + len(data.held_out_pairs.a),
        **columns(pair_columns(data), DESCRIBED),
        "pairs": dg.MetadataValue.int(len(data.train_pairs.a)),
        "pairs_true": dg.MetadataValue.int(int(data.train_pairs.same.sum())),
        "held_out_pairs": dg.MetadataValue.int(len(data.held_out_pairs.a)),
        "held_out_pairs_true": dg.MetadataValue.int(int(data.held_out_pairs.same.sum())),
        "altered_pictures": dg.MetadataValue.int(0 if data.altered is None else len(data.altered.fingerprints)),
        "embeddings": dg.MetadataValue.text(f"{data.recipe.lsh_version}, {data.recipe.pair_version}"),
        "counts": dg.MetadataValue.table(counts),
    }
