"""The cache of compiled kernels is bounded, to what a step needs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lightning_med.utils.memory import kernel_cache
from lightning_med.utils.memory.kernel_cache import count_kernels, limit_kernel_cache
from lightning_med.utils.precision import has_cpu_bf16

VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")

# 300 products of different shapes; prints the bytes that malloc has given out after the first 100, and what came after.
MANY_SHAPES = """
import ctypes
import torch
from lightning_med.utils.memory.kernel_cache import limit_kernel_cache

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena a b c mapped d e used free f".split()]

read = ctypes.CDLL(None).mallinfo2
read.restype = Counts
limit_kernel_cache(32)
right = torch.zeros(64, 64, dtype=torch.bfloat16)
for rows in range(1, 301):
    torch.zeros(rows, 64, dtype=torch.bfloat16) @ right
    if rows == 100:
        before = read().used + read().mapped
print(read().used + read().mapped - before)
"""


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)


def test_both_caches_are_bounded(unset: None) -> None:
    limit_kernel_cache(77)
    assert [os.environ[name] for name in VARIABLES] == ["77", "77"]


def test_a_bound_that_is_set_already_stays(unset: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[0], "500")
    limit_kernel_cache(77)
    assert [os.environ[name] for name in VARIABLES] == ["500", "77"]


def test_a_step_finds_its_kernels_in_the_cache() -> None:
    """Three for each consultation of the fullest batch, beside those of the linear layers, 15 when counted."""
    assert count_kernels(4096, 230.0) > 3 * 18 + 15  # 18 consultations were in the fullest of three such batches
    assert count_kernels(8192, 230.0) > 3 * 35 + 15  # 35
    assert count_kernels(8192, 230.0) < kernel_cache.DEFAULT
    assert 0 < count_kernels(64, 500.0) < count_kernels(100_000, 1.0) <= 1024


@pytest.mark.skipif(not has_cpu_bf16() or not sys.platform.startswith("linux"), reason="kernels of another kind")
def test_memory_stays_level_over_products_of_ever_new_shapes() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    run = subprocess.run(
        [sys.executable, "-c", MANY_SHAPES], capture_output=True, text=True, check=True, env=environment
    )
    assert int(run.stdout) < 10 << 20  # without the bound 100 MiB
