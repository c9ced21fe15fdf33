"""Fine-tuning of the classifier on letters and written messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from triage.encoder_network import EncoderNetwork

BATCH_TOKENS = 2048  # padding included
BATCH_ROWS = 32  # else some hundred short messages are one step, whose gradient is clipped to that of a few letters


@dataclass(frozen=True)
class Recipe:
    """How the encoder is tuned.

    Attributes:
        epochs: Passes over the letters.
        share: Of the written messages that an epoch sees, drawn anew for each: there are five times as many.
        rate: Highest learning rate of the encoder; the head's is ten times it.
        warmup: Share of the steps in which the rate rises; it falls linearly to 0 afterwards.
        decay: Weight decay.
        seed: Of the linear layer, the order of the batches and dropout.
    """

    epochs: int = 3
    share: float = 1 / 2
    rate: float = 1e-4
    warmup: float = 0.1
    decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Messages with the classes that are right.

    Attributes:
        ids: Token ids of each message.
        allowed: `[messages, classes]`, bool: of a letter whose level is known and whose category is not, each class
            of its level.
        weights: `[messages]`, of the loss.
        written: `[messages]`, bool: no letter.
    """

    ids: list[list[int]]
    allowed: np.ndarray
    weights: np.ndarray
    written: np.ndarray

    def select(self, rows: np.ndarray) -> Examples:
        """Returns the examples of some rows."""
        return Examples([self.ids[row] for row in rows], self.allowed[rows], self.weights[rows], self.written[rows])


def plan_batches(
    lengths: np.ndarray, rows: np.ndarray, generator: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Returns the rows of each batch, of similar length; shuffled where a generator is given.

    Args:
        lengths: `[messages]`, in tokens.
        rows: Which messages.
        generator: Of the shuffle.
    """
    noise = generator.uniform(0.8, 1.25, len(rows)) if generator else np.ones(len(rows))
    order = rows[np.argsort(lengths[rows] * noise, kind="stable")]
    batches: list[list[int]] = [[]]
    longest = 1
    for row in order:
        longest = max(longest, int(lengths[row]))
        rows_after = len(batches[-1]) + 1
        if batches[-1] and (rows_after * longest > BATCH_TOKENS or rows_after > BATCH_ROWS):
            batches.append([])
            longest = int(lengths[row])
        batches[-1].append(int(row))
    arrays = [np.array(batch) for batch in batches]
    return [arrays[i] for i in generator.permutation(len(arrays))] if generator else arrays


def pad_batch(ids: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Returns ids and mask, `[messages, tokens]`, int64."""
    longest = max(map(len, ids))
    padded = torch.zeros(len(ids), longest, dtype=torch.int64)
    mask = torch.zeros(len(ids), longest, dtype=torch.int64)
    for row, each in enumerate(ids):
        padded[row, : len(each)] = torch.tensor(each)
        mask[row, : len(each)] = 1
    return padded, mask


def compute_losses(scores: Tensor, allowed: Tensor) -> Tensor:
    """Returns the negative log-likelihood of the right classes together, `[messages]`, in nats."""
    return -scores.float().log_softmax(1).masked_fill(~allowed, -torch.inf).logsumexp(1)


def plan_epochs(data: Examples, recipe: Recipe) -> list[np.ndarray]:
    """Returns the batches of all epochs, in order."""
    generator = np.random.default_rng(recipe.seed)
    lengths = np.array([len(ids) for ids in data.ids])
    letters, written = np.flatnonzero(~data.written), np.flatnonzero(data.written)
    batches = []
    for _ in range(recipe.epochs):
        some = generator.choice(written, int(recipe.share * len(written)), replace=False)
        batches += plan_batches(lengths, np.r_[letters, some], generator)
    return batches


def tune(encoder: Path, data: Examples, recipe: Recipe, progress: Callable[[str, int, int], None]) -> EncoderNetwork:
    """Tunes an encoder with a new linear layer, in bfloat16 autocast; the words' embeddings stay as they are.

    Args:
        encoder: Its folder, in the form of transformers.
        data: The examples.
        recipe: How.
        progress: Of `show_progress`.
    """
    torch.manual_seed(recipe.seed)
    network = EncoderNetwork(encoder, data.allowed.shape[1])
    batches = plan_epochs(data, recipe)
    network.encoder.embeddings.requires_grad_(False)
    groups = [
        {"params": network.encoder.encoder.parameters(), "lr": recipe.rate},
        {"params": network.head.parameters(), "lr": 10 * recipe.rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.decay, fused=True)
    warm = max(int(recipe.warmup * len(batches)), 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(len(batches) - step, 0) / max(len(batches) - warm, 1))
    )
    allowed, weights = torch.tensor(data.allowed), torch.tensor(data.weights, dtype=torch.float32)
    # A constant, not the batch's own sum: batches are of similar length, so most hold letters or written messages only.
    unit = float(np.mean([data.weights[batch].sum() for batch in batches]))
    network.train()
    for step, batch in enumerate(batches):
        ids, mask = pad_batch([data.ids[row] for row in batch])
        with torch.autocast("cpu", torch.bfloat16):
            scores = network(ids, mask)
        loss = (weights[batch] * compute_losses(scores, allowed[batch])).sum() / unit
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        progress(f"tuning, loss {loss.item():.3f}", step + 1, len(batches))
    return network.eval()


def average(networks: Sequence[EncoderNetwork]) -> EncoderNetwork:
    """Returns the first network with the mean of the weights of all."""
    states = [network.state_dict() for network in networks]
    mean = {
        name: (sum(state[name] for state in states) / len(states)).to(value.dtype) for name, value in states[0].items()
    }
    networks[0].load_state_dict(mean)
    return networks[0]


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Returns the token ids of texts, cut to the tokenizer's longest length."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
