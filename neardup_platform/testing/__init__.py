"""A test kit: the parts of the platform without Kafka, S3 and TensorFlow, for your tests as for our own.

    from neardup_platform.testing import InMemoryWorker, families

    worker = InMemoryWorker(tmp_path)
    worker.decide(families(count=5, copies=3))
    assert worker.heads()["0/1"] == worker.heads()["0/2"]

Everything that decides is real: term space, term index, decision rule, store, commit. What stands in for the rest:

| here | for |
|---|---|
| `CosineScorer` | the pair classifier |
| `InMemoryWorker` | the stream worker: opened over a folder, it decides, applies commands and restarts |
| `MemoryVectors` | the vector files |
| `ManualClock` | the clocks of the machine |
| `image`, `families` | embedded pictures: synthetic vectors with copies |
| `small_term_space`, `small_index`, `small_pipeline` | the real ones, of which a few dozen images fill segments |
| `eventually` | waiting for something that another thread or process does |

The kit imports no test framework.
"""

from neardup_platform.clock import ManualClock
from neardup_platform.scoring.vectors import MemoryVectors
from neardup_platform.testing.images import LSH_DIM, MODELS, PAIR_DIM, families, image
from neardup_platform.testing.pipeline import (
    BLOCK_IMAGES,
    EXHAUSTIVE,
    MAX_REPRESENTATIVES,
    small_index,
    small_index_space,
    small_pipeline,
    small_term_space,
)
from neardup_platform.testing.scorer import CosineScorer
from neardup_platform.testing.waiting import eventually
from neardup_platform.testing.worker import InMemoryWorker

__all__ = [
    "BLOCK_IMAGES",
    "EXHAUSTIVE",
    "LSH_DIM",
    "MAX_REPRESENTATIVES",
    "MODELS",
    "PAIR_DIM",
    "CosineScorer",
    "InMemoryWorker",
    "ManualClock",
    "MemoryVectors",
    "eventually",
    "families",
    "image",
    "small_index",
    "small_index_space",
    "small_pipeline",
    "small_term_space",
]
