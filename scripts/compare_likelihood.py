"""Compares how likely models find the answers of a run's test split, with intervals over its rows.

    python scripts/compare_likelihood.py --config RUN/config.yaml --model base=bases/smollm2 --model full=RUN/export

Each model is an export or the folder of a base. Test rows are encoded once, with the prompt of the run, and run in
float32. Perplexity is over the answers' tokens, their ends included; bits per byte are over the answers' UTF-8 bytes.
Intervals (95 %) come from 10,000 resamples of the rows; those of a difference resample the rows of both models
together, which is why they are narrower than the models' own intervals suggest.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from answers.models import check_folder, name_folders
from transformers import PreTrainedModel
from transformers.utils import logging

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.data.batching.collate import collate_flat
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import compute_nll
from lightning_med.model.weight_files import load_weights
from lightning_med.tokenization.tokenizer import load_tokenizer
from lightning_med.utils.console import Progress, say, show_progress
from lightning_med.utils.errors import InputError

_ROWS = 8  # of a batch
_RESAMPLES, _DRAWN = 10_000, 500  # in all, and at once


@dataclass(frozen=True)
class RowLikelihood:
    """Negative log-likelihood (nats), tokens and bytes of each row's answer, `[rows]` each."""

    nll: np.ndarray
    tokens: np.ndarray
    size: np.ndarray


@torch.inference_mode()
def measure_rows(network: PreTrainedModel, data: DialogueDataModule, progress: Progress, name: str) -> RowLikelihood:
    """Measures the answers of the test split, row by row.

    Args:
        network: In evaluation mode.
        data: Prepared.
        progress: Is told how many rows are done.
        name: Of the model.
    """
    store = data.store("test")
    nll, tokens = np.zeros(len(store)), np.zeros(len(store))
    for start in range(0, len(store), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(store)))
        batch = collate_flat(store, rows)
        each = compute_nll(network, batch)[1].double().numpy()
        starts = torch.tensor(batch["boundaries"][1:])
        owners = torch.bucketize(batch["predict_at"][: batch["answers"]], starts, right=True).numpy()
        nll[rows] = np.bincount(owners, each, len(rows))
        tokens[rows] = np.bincount(owners, minlength=len(rows))
        progress(name, int(rows[-1]) + 1, len(store))
    return RowLikelihood(nll, tokens, np.asarray(store.answer_bytes, dtype=np.float64))


def load_data(config: Path) -> DialogueDataModule:
    """Returns the prepared data of a run.

    Raises:
        InputError: The file is no run's config.
    """
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"--config {config} is no run's config.yaml.", "A run's folder has one.") from error
    data = DialogueDataModule(**settings)
    data.prepare_data()
    data.setup("test")
    return data


def load_network(folder: Path, data: DialogueDataModule) -> PreTrainedModel:
    """Loads a model whose tokens are those of the data.

    Raises:
        InputError: It cannot be loaded, or has another tokenizer.
    """
    check_folder(folder)
    if load_tokenizer(str(folder)).get_vocab() != data.prepared.tokenizer.get_vocab():
        raise InputError(f"--model {folder} has another tokenizer than the run.", "Compare models of one base.")
    return load_weights(folder, str(folder), dtype=torch.float32).eval()


def resample(models: list[RowLikelihood], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes losses and bits per byte over all rows, and over resamples of them that are the same for each model.

    Returns:
        Nats a token and bits per byte, `[1 + resamples, models]` each; the first line is over all rows.
    """
    rng, rows = np.random.default_rng(seed), len(models[0].nll)
    nll, tokens, size = (np.stack([getattr(model, name) for model in models], 1) for name in ("nll", "tokens", "size"))
    losses, bits = [], []
    for start in range(0, 1 + _RESAMPLES, _DRAWN):
        counts = rng.multinomial(rows, np.full(rows, 1 / rows), size=_DRAWN)
        if not start:
            counts[0] = 1
        total = counts @ nll
        losses.append(total / (counts @ tokens))
        bits.append(total / math.log(2) / (counts @ size))
    return np.concatenate(losses), np.concatenate(bits)


def report(models: dict[str, RowLikelihood], seed: int) -> tuple[str, dict[str, Any]]:
    """Returns a table in Markdown, and its figures."""
    losses, bits = resample(list(models.values()), seed)
    lines = ["| model | perplexity | bits per byte |", "|---|---|---|"]
    figures: dict[str, Any] = {"models": {}, "differences": []}
    for column, name in enumerate(models):
        values = {
            "perplexity": _make_interval(np.exp(losses[:, column])),
            "bits_per_byte": _make_interval(bits[:, column]),
        }
        figures["models"][name] = values
        lines.append(f"| {name} | {_format(values['perplexity'], 2)} | {_format(values['bits_per_byte'], 3)} |")
    lines += ["", "| difference | loss, nats a token | bits per byte |", "|---|---|---|"]
    for (one, a), (other, b) in combinations(enumerate(models), 2):
        values = {
            "loss": _make_interval(losses[:, other] - losses[:, one]),
            "bits_per_byte": _make_interval(bits[:, other] - bits[:, one]),
        }
        figures["differences"].append({"a": a, "b": b, **values})
        lines.append(f"| {b} - {a} | {_format(values['loss'], 3)} | {_format(values['bits_per_byte'], 3)} |")
    return "\n".join(lines), figures


def _make_interval(values: np.ndarray) -> dict[str, float]:
    """Returns the first of some values, which is over all rows, between the quantiles of the others."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def _format(interval: dict[str, float], digits: int) -> str:
    return f"{interval['value']:.{digits}f} ({interval['low']:.{digits}f} to {interval['high']:.{digits}f})"


def compare(options: argparse.Namespace) -> None:
    """Measures all models and prints the table."""
    logging.disable_progress_bar()
    data, models = load_data(options.config), {}
    with show_progress("Measuring") as progress:
        for name, folder in name_folders(options.model).items():
            models[name] = measure_rows(load_network(folder, data), data, progress, name)
    table, figures = report(models, options.seed)
    say(f"{len(data.store('test'))} test rows\n\n{table}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status."""
    parser = Parser("compare_likelihood", "Compare how likely models find the answers of a run's test split.")
    parser.add_argument("--config", type=Path, required=True, help="of the run: RUN/config.yaml")
    parser.add_argument("--model", action="append", required=True, metavar="[NAME=]FOLDER", help="repeat")
    parser.add_argument("--seed", type=int, default=42, help="of the resamples (default: 42)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    try:
        compare(parser.parse_args(argv))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
