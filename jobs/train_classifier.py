"""The job that trains a classifier on labelled pictures and promotes it unless it is worse than the active one."""

import dagster as dg

from assets.classifier_evaluation import classifier_evaluation
from assets.pair_classifier import pair_classifier
from assets.promoted_classifier import promoted_classifier
from assets.training_pairs import training_pairs

train_classifier = dg.define_asset_job(
    "train_classifier",
    dg.AssetSelection.assets(training_pairs, pair_classifier, classifier_evaluation, promoted_classifier),
    description="Mines pairs from labelled pictures, trains, publishes, evaluates against the active classifier, and "
    "promotes. Configure the op training_pairs with manifests and, optionally, diverse pictures.",
)
