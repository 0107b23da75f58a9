"""The calls that `neardup bench api` measures, each as requests with different contents. Pure."""

import numpy as np

from neardup_platform.bench.http_load import encoded
from neardup_platform.bench.synthetic import FAMILY_IMAGES, image_id, vectors
from neardup_platform.records import Kind, ModelSpec

_IDS, _LISTS, _VECTORS = 1_000, 16, 64
LOOKUP_IDS = 1_000


def consumer_calls(images: int, crowd: range, models: dict[Kind, ModelSpec]) -> dict[str, list[bytes]]:
    """Encoded requests by call.

    Args:
        images: synthetic ones in the store, in families but for the crowd.
        crowd: those in one large cluster.
        models: of the vectors to search by.
    """
    rng = np.random.default_rng(0)
    ids = [image_id(number) for number in rng.integers(images, size=_IDS).tolist()]
    lists = [[image_id(number) for number in rng.choice(images, LOOKUP_IDS).tolist()] for _ in range(_LISTS)]
    numbers = rng.integers(images, size=_VECTORS)
    examples = zip(*(vectors(numbers, kind, models[kind].dim).tolist() for kind in (Kind.LSH, Kind.PAIR)), strict=True)
    first = [number - number % FAMILY_IMAGES for number in numbers.tolist()]
    return {
        "GET image": [encoded("GET", f"/v1/images/{name}") for name in ids],
        "POST images:lookup, 1 id": [encoded("POST", "/v1/images:lookup", {"ids": [name]}) for name in ids],
        f"POST images:lookup, {LOOKUP_IDS:,} ids": [
            encoded("POST", "/v1/images:lookup", {"ids": each}) for each in lists
        ],
        "GET members, 100": [encoded("GET", f"/v1/clusters/{image_id(crowd.start)}/members?limit=100")],
        "GET explanation": [encoded("GET", f"/v1/images/{name}/explanation") for name in ids],
        "GET clusters, 100": [encoded("GET", f"/v1/clusters?sort={sort}") for sort in ("size", "recent")],
        "POST search, vectors": [encoded("POST", "/v1/search", {"lsh": lsh, "pair": pair}) for lsh, pair in examples],
        "POST pairs, ids": [
            encoded("POST", "/v1/pairs", {"a": {"image_id": image_id(at)}, "b": {"image_id": image_id(at + 1)}})
            for at in first
        ],
    }
