"""Trains the pair classifier for the built-in embedders: how the one that is shipped was made.

    python -m neardup_platform.quality.train_classifier LABELLED.csv DIVERSE.csv OUT

LABELLED.csv has the columns file and group; DIVERSE.csv has the column file and lists pictures no two of which
are alike, of which altered copies are made.
"""

import sys
from pathlib import Path

from neardup_platform.images.embedders import load_embedders
from neardup_platform.images.labelled_pictures import embed_altered, embed_manifest
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.features import Block
from neardup_platform.scoring.training import Recipe, train
from neardup_platform.settings import ImageSettings

ALTERED_PICTURES, COPIES, SEED = 2_000, 2, 1


def train_on_pictures(labelled: Path, diverse: Path | None, out: Path, settings: ImageSettings) -> Card:
    """Embeds the pictures of one or two CSV files, trains on them and writes the classifier.

    Args:
        labelled: CSV with the columns `file` (relative to it) and `group`.
        diverse: CSV with the column `file`, pictures no two of which are alike; None: no altered copies.
        out: folder of the classifier.
        settings: which embedders, and limits of decoding.

    Raises:
        SetupError: a CSV cannot be used, or has too few groups.
        BadPicture: a picture is refused.
    """
    lsh, pair = load_embedders(settings)
    altered = None
    if diverse is not None:
        altered = embed_altered(
            diverse, (lsh, pair), settings, most_pictures=ALTERED_PICTURES, copies=COPIES, seed=SEED
        )
    blocks = tuple(Block(*block) for block in pair.blocks)
    recipe = Recipe(lsh.model_version, pair.model_version, blocks)
    return train(embed_manifest(labelled, (lsh, pair), settings), out, recipe, altered=altered)


if __name__ == "__main__":
    _labelled, _diverse, _out = map(Path, sys.argv[1:4])
    _card = train_on_pictures(_labelled, _diverse, _out, ImageSettings())
    sys.stdout.write(f"classifier {_card.version} written to {_out}: {_card.metrics}\n")
