"""Compares the speed of the likelihood of references with that of plain forward passes over the same batches.

    python scripts/benchmark_likelihood.py --model DIR --data FILE --rows 2000

Both run in one process, in float32, batch by batch in turns: the forward pass of the network with the logits of all
positions, and what `lightning-med evaluate` does with the batch, which takes the loss of each token too. The order of
the two changes from batch to batch. Encoding the rows counts for the second alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.evaluation.likelihood.reference_batches import make_reference_batches
from lightning_med.evaluation.likelihood.row_likelihood import split_rows
from lightning_med.evaluation.rows import open_data, read_rows
from lightning_med.inference.model_folder import open_model
from lightning_med.model.causal_lm import compute_token_nll
from lightning_med.model.execution import choose_execution, compute_hidden, get_context_length
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError, check_range


@torch.inference_mode()
def run_forward(network: Any, batch: dict[str, Any]) -> None:
    """Runs the network and its output layer over all positions."""
    network.get_output_embeddings()(compute_hidden(network, batch))


def compare(folder: Path, data: str, count: int) -> tuple[float, float, int, int]:
    """Returns the seconds of the forward passes and of the likelihood, and the rows and tokens of both."""
    model = open_model(folder)
    prepared, name = open_data(data, "test", str(folder), {}, "--data")
    rows = read_rows(prepared, "test", name).draw(count, 0)
    network: Any = model.load_network(torch.float32).to("cpu")  # type: ignore[arg-type]
    choose_execution(network, min(get_context_length(network), model.encoder.max_length))
    start = time.perf_counter()
    batches = list(make_reference_batches(model.encoder, rows.questions, rows.references))
    forward, likelihood, tokens = 0.0, time.perf_counter() - start, 0
    run_forward(network, batches[0].inputs)  # warm
    with show_progress("benchmark") as progress:
        for number, batch in enumerate(batches):
            for kind in ("forward", "likelihood") if number % 2 else ("likelihood", "forward"):
                start = time.perf_counter()
                if kind == "forward":
                    run_forward(network, batch.inputs)
                    forward += time.perf_counter() - start
                else:
                    nll = compute_token_nll(network, batch.inputs).cpu().double().numpy()
                    list(split_rows(batch, nll, model.encoder.stops))
                    likelihood += time.perf_counter() - start
            tokens += batch.inputs["input_ids"].numel()
            progress("batches", number + 1, len(batches))
    return forward, likelihood, len(rows), tokens


def main() -> int:
    """Prints both speeds and their ratio."""
    parser = Parser("benchmark_likelihood.py", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", required=True, type=Path, help="an export, or a base's folder")
    parser.add_argument("--data", required=True, help="a table of consultations")
    parser.add_argument("--rows", type=int, default=2000, help="rows, drawn by seed (default: 2000)")
    given = parser.parse_args()
    try:
        check_range("--rows", given.rows, 1)
        forward, likelihood, rows, tokens = compare(given.model, given.data, given.rows)
    except InputError as error:
        print(f"benchmark_likelihood.py: {error}", file=sys.stderr)
        return 2
    print(f"{rows:,} rows, {tokens:,} tokens, {torch.get_num_threads()} threads")
    print(f"plain forward: {tokens / forward:,.0f} tokens/s; likelihood: {tokens / likelihood:,.0f} tokens/s")
    print(f"ratio: {forward / likelihood:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
