"""What memory sets a limit to: the bytes that a token reads, how fast they are read, and the peak of a process."""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path

WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "q8_0": 34 / 32}  # of a number; q8_0: 32 bytes and a scale of two
_SIZE = 1 << 29  # bytes of the array that is summed: more than any cache holds
_REPEATS = 5


def measure_bandwidth(threads: int) -> float:
    """Returns how many bytes of a large array are summed a second, at best."""
    import torch

    torch.set_num_threads(threads)
    array = torch.ones(_SIZE // 4)
    best = 0.0
    for _ in range(_REPEATS):
        start = time.perf_counter()
        array.sum()
        best = max(best, _SIZE / (time.perf_counter() - start))
    return best


def count_read_parameters(folder: Path) -> int:
    """Returns how many numbers of a network every token reads: all but the rows of the embeddings of other tokens."""
    from safetensors import safe_open

    from lightning_med.model.weight_files import read_config

    tied, count = read_config(folder).get_text_config().tie_word_embeddings, 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118
                is_table = name.endswith(("embed_tokens.weight", "wte.weight")) and not tied
                if not is_table and not name.endswith("wpe.weight"):
                    count += math.prod(file.get_slice(name).get_shape())
    return count


def read_peak_memory(pid: int | None) -> int:
    """Returns the largest resident memory of a process so far, in bytes.

    Args:
        pid: None for this process.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    # The system's count for a child begins with the memory of the process that started it; this one does not.
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF if pid is None else resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
