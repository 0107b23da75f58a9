"""Exhaustive nearest-neighbour scans with faiss, on the GPU if faiss finds one.

Both kinds of flat index are used: `IndexBinaryFlat` (Hamming) and `IndexFlatIP` (inner product). On a GPU they
become `GpuIndexBinaryFlat` and `GpuIndexFlat`; the vectors also stay in host memory, because a GPU returns at most
2,048 neighbours of a query, and because results are compared once more on the host. A GPU stores vectors as float16:
half the memory, at about the same speed.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

# GPU_MAX_SELECTION_K in faiss/gpu/utils/DeviceDefs.cuh.
GPU_MAX_NEIGHBOURS = 2_048


class FaissFlat:
    """A flat faiss index that grows; one call at a time.

    Args:
        host: an empty `IndexBinaryFlat` or `IndexFlatIP`.
    """

    def __init__(self, host: Any) -> None:
        self._host = host
        self._gpu: Any = None
        if faiss.get_num_gpus() > 0:
            self._resources: Any = faiss.StandardGpuResources()
            self._gpu = _copy_to_gpu(self._resources, host)

    def __len__(self) -> int:
        return int(self._host.ntotal)

    @property
    def storage_error(self) -> float:
        """Largest error of an inner product of unit vectors because both are rounded to float16; 0 on the CPU.

        Rounding changes an entry x by at most 2⁻¹¹·|x| + 2⁻²⁵ (IEEE 754: 11 significant bits, subnormals below 2⁻¹⁴).
        By Cauchy and Schwarz the products then differ by at most 2⁻¹⁰ in total, and by terms below 2⁻²⁴ a dimension.
        """
        return 0.0 if self._gpu is None else 2.0**-10 + (self._host.d + 5) * 2.0**-24

    def add(self, rows: NDArray[Any]) -> None:
        """Appends contiguous rows: uint8 [n, bytes] for a binary index, otherwise float32 [n, dim]."""
        self._host.add(rows)
        if self._gpu is not None:
            self._gpu.add(rows)

    def nearest(self, rows: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Finds the nearest rows, nearest first; among equals at the end any may be missing.

        Args:
            rows: as for `add`, [q, …].
            count: 1…len(self).

        Returns:
            Row numbers int64 [q, count], and int32 distances or float32 inner products of the same shape.
        """
        index = self._host if self._gpu is None or count > GPU_MAX_NEIGHBOURS else self._gpu
        nearness, numbers = index.search(rows, count)
        return numbers, nearness

    def reset(self) -> None:
        """Removes all rows and frees their memory."""
        for index in (self._host, self._gpu):
            if index is not None:
                index.reset()

    def rows(self) -> NDArray[Any]:
        """Returns all rows, see `stored_rows`."""
        return stored_rows(self._host)


def _copy_to_gpu(resources: Any, host: Any) -> Any:
    if isinstance(host, faiss.IndexBinary):
        return faiss.index_binary_cpu_to_gpu(resources, 0, host)
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    return faiss.index_cpu_to_gpu(resources, 0, host, options)


def stored_rows(host: Any) -> NDArray[Any]:
    """Returns all rows of a flat index in host memory, as added, not copied; valid until the next `add`."""
    binary = isinstance(host, faiss.IndexBinary)
    width, dtype = (host.code_size, np.uint8) if binary else (host.d, np.float32)
    if not host.ntotal:
        return np.zeros((0, width), dtype)
    pointer = host.xb.data() if binary else host.get_xb()
    view: NDArray[Any] = faiss.rev_swig_ptr(pointer, host.ntotal * width).reshape(host.ntotal, width)
    return view
