"""The figures of benchmark_training: medians over the rounds, and their table."""

from __future__ import annotations

from statistics import median
from typing import Any

from measurement import MemorySamples

MEMORY = ("peak", "first", "last")


def find_memory(result: dict[str, Any], memory: MemorySamples) -> dict[str, int]:
    """Returns the peak memory of a contender, and that in its first and its last timed update, in bytes."""
    if "windows" not in result:
        return {}
    windows = {name: memory.find_peak(*window) for name, window in result["windows"].items()}
    return {"peak": memory.find_peak(end=result["windows"]["last"][1]), **windows}


def summarize_rounds(rounds: list[dict[str, Any]], peak: float) -> dict[str, Any]:
    """Returns the medians over the rounds of one contender, and the rounds themselves."""
    on_gpu = rounds[0]["gpu_memory_bytes"] is not None  # where torch tells the peak alone
    memory = {
        name: None if on_gpu and name != "peak" else int(median(r["gpu_memory_bytes"] or r[name] for r in rounds))
        for name in MEMORY
    }
    return {
        "useful_tokens_per_second": float(median(result["useful_tokens_per_second"] for result in rounds)),
        "peak_memory_bytes": memory["peak"],
        "first_memory_bytes": memory["first"],
        "last_memory_bytes": memory["last"],
        "final_loss": float(median(result["final_loss"] for result in rounds)),
        "utilisation": float(median(result["operations"] / result["seconds"] / peak for result in rounds)),
        "way": rounds[0]["way"],
        "ids": rounds[0]["ids"],
        "rounds": rounds,
    }


def format_table(results: dict[str, Any], names: list[str]) -> str:
    """Returns the figures of the named contenders as a Markdown table."""
    lines = [
        "| contender | useful tokens a second | ours is faster by | utilisation | peak memory | in the first update"
        " | in the last | final loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ours = results.get("ours")
    for name in names:
        row = results[name]
        ratio = f"{ours['useful_tokens_per_second'] / row['useful_tokens_per_second']:.2f}" if ours else "–"
        sizes = [row[f"{when}_memory_bytes"] for when in MEMORY]
        memory = " | ".join("–" if size is None else f"{size / 2**20:,.0f} MiB" for size in sizes)
        lines.append(
            f"| {name} | {row['useful_tokens_per_second']:,.0f} | {ratio} | {row['utilisation']:.1%}"
            f" | {memory} | {row['final_loss']:.3f} |"
        )
    return "\n".join(lines)


def describe_network(shape: dict[str, Any]) -> str:
    origin = "pretrained" if shape["pretrained"] else "random"
    layers = f"{shape['layers']} layers of {shape['width']}"
    return f"{shape['family']}, {layers}, {shape['weights'] / 1e6:.1f} million {origin} weights"
