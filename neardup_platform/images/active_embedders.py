"""The active embedders: the built-in ones, or the user's own where a setting names them.

Loaded once by `ingest`, search by example and training.
"""

from collections.abc import Sequence

from neardup_platform.images.embedder import Embedder
from neardup_platform.images.keras_lsh_embedder import LshEmbedder
from neardup_platform.images.keras_user_embedder import UserEmbedder
from neardup_platform.images.pair_descriptor import PairDescriptor
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.settings import ImageSettings


def model_specs(embedders: Sequence[Embedder]) -> dict[Kind, ModelSpec]:
    """The model version and dimension of the embedders, by kind."""
    return {Kind(e.kind): ModelSpec(e.model_version, e.dim) for e in embedders}


def load_embedders(settings: ImageSettings) -> tuple[Embedder, Embedder]:
    """Load the `lsh` and the `pair` embedder.

    Args:
        settings: `lsh_model` and `pair_model` name the user's own; None means built in.

    Returns:
        The embedder of kind `lsh`, the embedder of kind `pair`.

    Raises:
        BadArtefact: a model is missing, damaged, or has an unusable shape.
        SetupError: a model needs a package that is not installed.
    """
    lsh = UserEmbedder("lsh", settings.lsh_model) if settings.lsh_model else LshEmbedder()
    pair = UserEmbedder("pair", settings.pair_model) if settings.pair_model else PairDescriptor()
    return lsh, pair
