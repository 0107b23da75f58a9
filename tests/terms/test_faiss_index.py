from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.terms import faiss_flat
from neardup_platform.terms.candidates import CandidateIndex
from neardup_platform.terms.faiss_index import FaissCosineIndex, FaissHammingIndex
from neardup_platform.terms.hyperplanes import Hashed, TermSpace, hamming

DIM = 300


def wide_space() -> TermSpace:
    """Planes of two words, the second one partly filled."""
    sample = np.random.default_rng(0).standard_normal((600, DIM)).astype(np.float32)
    return fit_term_space(sample, "test", tables=100, bits=9, whitening=0.25, seed=1, cells=8)


def crowd(space: TermSpace, images: int, noise: float) -> Hashed:
    """Images around one vector, some of them equal."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal(DIM) + noise * rng.standard_normal((images, DIM))
    rows[images // 3 : images // 2] = rows[7]
    return space.hash(rows.astype(np.float32))


def best_first(costs: NDArray[Any], k: int) -> list[int]:
    return np.lexsort((np.arange(len(costs)), costs))[:k].tolist()


@pytest.mark.parametrize("queries", [1, 64])
def test_cosines_that_float32_cannot_distinguish_are_in_exact_order(queries: int) -> None:
    """Faiss uses different kernels for few and for many queries; the rounding of neither may show."""
    space = wide_space()
    images = crowd(space, 3_000, 3e-4)
    index = FaissCosineIndex(space)
    index.add(images)
    found = index.search(images[:queries], 50)
    stored = images.unit.astype(np.float64)
    single = (images.unit[:queries] @ images.unit.T).round(7)
    assert len(np.unique(single[0])) < 100, "the corpus is too easy"
    for row in range(queries):
        costs = -(stored * stored[row]).sum(axis=1)
        assert found.ordinals[row].tolist() == best_first(costs, 50)
        assert (
            found.distances[row].tolist()
            == hamming(images.signatures[row], images.signatures)[found.ordinals[row]].tolist()
        )


@pytest.mark.parametrize("backend", [FaissHammingIndex, FaissCosineIndex])
def test_overlaps_of_planes_wider_than_a_word_are_counted_term_by_term(backend: type[CandidateIndex]) -> None:
    space = wide_space()
    images = crowd(space, 200, 1.5)
    index = backend(space)  # type: ignore[call-arg]
    index.add(images)
    found = index.search(images[:5], 200, min_overlap=3)
    bits = np.unpackbits(images.signatures.view(np.uint8), axis=1, bitorder="little")
    terms = bits.reshape(len(images), space.bits, -1)[:, :, : space.tables]
    for row in range(5):
        equal = (terms == terms[row]).all(axis=1).sum(axis=1)
        kept = found.ordinals[row] >= 0
        assert kept.sum() == (equal >= 3).sum() < 200
        assert found.overlaps[row][kept].tolist() == equal[found.ordinals[row][kept]].tolist()


class GpuCopy:
    """Stands in for a GPU, so that no test needs one: at most 2,048 neighbours, and vectors rounded to float16."""

    def __init__(self, host: Any) -> None:
        self.half = not isinstance(host, faiss.IndexBinary)
        self.copy: Any = (
            faiss.IndexScalarQuantizer(host.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            if self.half
            else faiss.clone_binary_index(host)
        )
        self.add, self.reset = self.copy.add, self.copy.reset
        self.asked: list[int] = []

    def search(self, rows: NDArray[Any], count: int) -> Any:
        assert count <= 2_048, f"a GPU index refuses {count}"
        self.asked.append(count)
        return self.copy.search(rows.astype(np.float16).astype(np.float32) if self.half else rows, count)


@pytest.fixture
def gpu_copies(monkeypatch: pytest.MonkeyPatch) -> list[GpuCopy]:
    """A GPU that faiss finds from now on; the copies that were moved to it."""
    copies: list[GpuCopy] = []

    def to_gpu(resources: object, device: int, host: Any, options: Any = None) -> GpuCopy:
        assert isinstance(host, faiss.IndexBinary) or options.useFloat16
        copies.append(GpuCopy(host))
        return copies[-1]

    monkeypatch.setattr(faiss_flat.faiss, "get_num_gpus", lambda: 1)
    for name, made in (
        ("StandardGpuResources", object),
        ("GpuClonerOptions", SimpleNamespace),
        ("index_cpu_to_gpu", to_gpu),
        ("index_binary_cpu_to_gpu", to_gpu),
    ):
        monkeypatch.setattr(faiss_flat.faiss, name, made, raising=False)
    return copies


@pytest.mark.parametrize("noise", [0.3, 0.03])
@pytest.mark.parametrize("backend", [FaissHammingIndex, FaissCosineIndex])
def test_the_gpu_answers_up_to_its_limit_and_the_host_beyond(
    backend: type[CandidateIndex], noise: float, gpu_copies: list[GpuCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With little noise, rounding to float16 changes the order of cosines."""
    space = wide_space()
    images = crowd(space, 5_000, noise)
    index = backend(space)  # type: ignore[call-arg]
    assert len(gpu_copies) == 1
    monkeypatch.setattr(faiss_flat.faiss, "get_num_gpus", lambda: 0)
    expected = backend(space)  # type: ignore[call-arg]
    for each in (index, expected):
        each.add(images)
    for k in (10, 900, 3_000):
        a, b = index.search(images[:3], k), expected.search(images[:3], k)
        assert a.ordinals.tolist() == b.ordinals.tolist()
    assert gpu_copies[0].asked
    index.close()
    assert gpu_copies[0].copy.ntotal == 0


@pytest.mark.usefixtures("gpu_copies")
def test_the_error_of_float16_is_within_its_bound_and_not_far_below() -> None:
    """Nearly the worst case: all entries are rounded in the same direction, by almost half a unit in the last place."""
    dim = 256
    entry = np.float32((1 + 0.95 * 2.0**-11) / 16)
    worst = np.full((1, dim), entry, np.float32)
    flat = faiss_flat.FaissFlat(faiss.IndexFlatIP(dim))
    flat.add(worst)
    _, products = flat.nearest(worst, 1)
    error = abs(float(products[0, 0]) - dim * float(entry) ** 2)
    assert 0.9 * flat.storage_error < error < flat.storage_error
