"""`neardup bench gpu`: exhaustive search and pair scoring where faiss and TensorFlow find a GPU, or else on the CPU.

Three measurements: faiss's scan of binary signatures and of vectors (`gpu_search.py`), the pair classifier with all
vectors in the memory of the device, and the same as the worker calls it: features on the CPU, the network wherever
TensorFlow runs it (`gpu_score.py`). Every row names its device.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import faiss

from neardup_platform.bench.gpu_score import bench_pairs, resident, worker
from neardup_platform.bench.gpu_search import K, bench_scan
from neardup_platform.bench.machine import gpus, result
from neardup_platform.scoring.card import NETWORK_FILE
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.scoring.tensorflow_network import read_network
from neardup_platform.settings import Settings

_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "keras", "tensorflow", "tensorflow-cpu")


def bench_gpu(docs: int, rows: int, settings: Settings, report: Callable[[str], None]) -> dict[str, Any]:
    """Run the benchmark in memory.

    Args:
        docs: images searched on a GPU; on the CPU at most `gpu_search.MOST_CPU_DOCS`.
        rows: images whose vectors are scored.
        settings: which classifier.
        report: called with a line about the current step.

    Raises:
        SetupError: the images do not fit the memory of the GPU or of the machine.
        InvariantBroken: results on the device differ from those on the CPU.
    """
    import tensorflow as tf

    gpus_of_faiss, gpus_of_tensorflow = faiss.get_num_gpus(), len(tf.config.list_physical_devices("GPU"))
    found = bench_scan(docs, gpus_of_faiss > 0, report)
    classifier = load_classifier(settings.scoring.model)
    card = classifier.card
    network = read_network(classifier.folder / NETWORK_FILE, len(card.features))
    scorers = {"resident": resident(card, network), "worker": worker(classifier)}
    found += bench_pairs(scorers, card, network, rows, gpus_of_tensorflow > 0, report)
    described = {
        "docs": docs,
        "rows": rows,
        "k": K,
        "classifier": classifier.version,
        "gpus": gpus(),
        "faiss_gpus": gpus_of_faiss,
        "tensorflow_gpus": gpus_of_tensorflow,
        "packages": _packages(),
    }
    return result("gpu", described, found)


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
