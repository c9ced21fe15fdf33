"""Size of oneDNN's cache of compiled kernels, with which torch multiplies bfloat16 matrices on a CPU."""

from __future__ import annotations

import os

DEFAULT = 256
_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, and of torch's layer over it
_ANY_LENGTH = 24  # kernels of a step for the linear layers
_EACH_LENGTH = 3  # kernels of a step for attention, for each length of a consultation
_SPREAD = 1.3  # consultations in the fullest batch, over those in an average one
_MOST = 1024


def limit_kernel_cache(kernels: int = DEFAULT) -> None:
    """Bounds the kernels that are kept; has an effect until the first is made. Variables that are set already stay.

    There is a kernel for each shape of a product, and flat batches bring new shapes in every step. By default both
    caches keep 1,024 of them, of half a megabyte each. Made in the middle of a step, they also come to lie between
    tensors that are freed later, and split the free memory.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, str(kernels))


def count_kernels(batch_tokens: int, mean_length: float) -> int:
    """Returns how many kernels a step uses at most; with fewer in the cache, every layer would make them again.

    Args:
        batch_tokens: That a batch may hold.
        mean_length: Of a consultation, in tokens.
    """
    consultations = _SPREAD * batch_tokens / max(mean_length, 1.0)
    return min(_ANY_LENGTH + _EACH_LENGTH * max(round(consultations), 1), _MOST)
