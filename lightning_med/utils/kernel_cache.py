"""Settings of oneDNN's cache of compiled kernels, by which torch multiplies bfloat16 matrices on a CPU."""

from __future__ import annotations

import os

CAPACITY = 256  # kernels; a step needs three for each length of a consultation, and about twenty
_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, and of torch's layer over it


def limit_kernel_cache() -> None:
    """Bounds the kernels that are kept, before any was made; variables that are set already stay.

    There is one for each shape of a product, and flat batches make new shapes in every step. By default 1,024 are kept
    in either cache, of half a megabyte each. As they are made in the middle of a step, between tensors that are freed
    later, they also split the free memory.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, str(CAPACITY))
