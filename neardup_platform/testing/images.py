"""Embedded pictures for tests: synthetic vectors, in families of near-duplicates."""

import numpy as np
from numpy.typing import ArrayLike

from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec

LSH_DIM, PAIR_DIM = 16, 4
MODELS = {Kind.LSH: ModelSpec("test", LSH_DIM), Kind.PAIR: ModelSpec("test", PAIR_DIM)}


def image(image_id: str, lsh: ArrayLike, time_ms: int = 1_600_000_000_000) -> JoinedImage:
    """Returns an image with this `lsh` vector; all images have the same `pair` vector.

    Args:
        image_id: of the image; its source is `s3://pictures/<image_id>`.
        lsh: [LSH_DIM].
        time_ms: event time of both embeddings, Unix milliseconds.
    """
    lsh_vector, pair_vector = np.asarray(lsh, np.float32), np.ones(PAIR_DIM, np.float32)
    lsh_version, pair_version = MODELS[Kind.LSH].version, MODELS[Kind.PAIR].version
    return JoinedImage(
        Embedding(image_id, Kind.LSH, lsh_version, lsh_vector, time_ms, f"s3://pictures/{image_id}"),
        Embedding(image_id, Kind.PAIR, pair_version, pair_vector, time_ms),
    )


def families(count: int, copies: int, seed: int = 5, noise: float = 0.1) -> list[JoinedImage]:
    """Returns unrelated images and their copies, shuffled; copy c of family f has the id `f/c`, the original `f/0`.

    Args:
        count: families.
        copies: of each, besides the original.
        seed: of the vectors and their order.
        noise: by how much vectors of a family differ; above 0.25 the clusters depend on the order.
    """
    rng = np.random.default_rng(seed)
    images = []
    for family in range(count):
        vector = rng.standard_normal(LSH_DIM)
        images += [
            image(f"{family}/{copy}", vector + noise * rng.standard_normal(LSH_DIM)) for copy in range(copies + 1)
        ]
    order = rng.permutation(len(images))
    return [images[i] for i in order]
