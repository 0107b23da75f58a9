"""`neardup bench gpu`: exhaustive search and pair scoring where faiss and TensorFlow find a GPU, or else on the CPU.

Four measurements: faiss's scan of binary signatures and of vectors (`gpu_search.py`); pairs scored with all vectors in
the memory of the device, with features on the CPU and the network on the device, and as the worker does it on the CPU
(`gpu_score.py`); the worker end to end, and on a GPU its search and score there (`gpu_worker.py`). Every row names its
device. It is meant to end within eight minutes on a GPU; `seconds` among the settings says how long it took.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

import faiss

from neardup_platform.bench.gpu_score import bench_pairs, features_on_cpu, resident, worker
from neardup_platform.bench.gpu_search import K, bench_scan
from neardup_platform.bench.gpu_worker import bench_device, bench_worker
from neardup_platform.bench.machine import gpus, result
from neardup_platform.scoring.card import NETWORK_FILE
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.scoring.tensorflow_network import TensorFlowNetwork, read_network
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

    started_s = perf_counter()
    gpus_of_faiss, gpus_of_tensorflow = faiss.get_num_gpus(), len(tf.config.list_physical_devices("GPU"))
    found = bench_scan(docs, gpus_of_faiss > 0, report)
    classifier = load_classifier(settings.scoring.model)
    card = classifier.card
    network = read_network(classifier.folder / NETWORK_FILE, len(card.features))
    on_gpu, path = gpus_of_tensorflow > 0, classifier.folder / NETWORK_FILE
    on_device = {
        "resident": resident(card, network),
        "features on the CPU": features_on_cpu(card, TensorFlowNetwork(path, len(card.features))),
    }
    found += bench_pairs(on_device, card, network, rows, on_gpu, report)
    found += bench_pairs({"worker": worker(classifier)}, card, network, rows, False, report)
    found += bench_worker(rows, classifier, settings, report)
    if gpus_of_faiss and on_gpu:
        found += bench_device(rows, on_device["resident"], card, settings.terms.max_candidates, report)
    described = {
        "docs": docs,
        "rows": rows,
        "k": K,
        "classifier": classifier.version,
        "gpus": gpus(),
        "faiss_gpus": gpus_of_faiss,
        "tensorflow_gpus": gpus_of_tensorflow,
        "packages": _packages(),
        "seconds": round(perf_counter() - started_s),
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
