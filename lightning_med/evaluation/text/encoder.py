"""Sentence encoders from a local folder: vectors of texts and tokens, and how alike answers and references are."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize

from lightning_med.checkpoints.digests import compute_digest
from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.model.weight_files import read_config
from lightning_med.tokenization.tokenizer import has_tokenizer
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError, describe_error

_HINT = "Name a folder of a sentence encoder with mean pooling in safetensors, for instance all-MiniLM-L6-v2."
_LIMIT = 512  # tokens: the positions of nearly all encoders, and few answers are longer
_BATCH = 32
_ROWS = 128  # whose token vectors are in memory at once
_FILES = (  # that decide on vectors beside the weights
    "config.json",
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("sentencepiece.bpe.model", "spiece.model"),
)
_MODULES = ("Transformer", "Pooling", "Normalize")  # what of sentence-transformers is repeated here


@dataclass(frozen=True)
class EncodedText:
    """What an encoder makes of a text, on the CPU.

    Attributes:
        vector: `[width]`, float32: the mean of the last layer's states of all tokens, of length 1.
        tokens: `[tokens, width]`, float32: the last layer's states without those of special tokens, each of length 1.
    """

    vector: Tensor
    tokens: Tensor


class SentenceEncoder:
    """An encoder in float32, with its tokenizer.

    Nothing is downloaded, and no code of the folder is run.

    Args:
        folder: With `config.json`, safetensors and a tokenizer.
        device: Where it computes.

    Attributes:
        digest: SHA-256 of weights, configuration and tokenizer, in hexadecimal.
        limit: Tokens, special ones included, that a text is cut to.

    Raises:
        InputError: The folder is no encoder, or its pooling is not the mean.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu") -> None:
        _check_folder(folder)
        self.digest = _compute_digest(folder)
        self._device = torch.device(device)
        try:
            self._network, self._tokenizer = _load(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{folder} is no encoder: {describe_error(error, 200)}", _HINT) from error
        self._network.to(self._device).eval()
        if not _reads_both_ways(self._network, self._device):
            raise InputError(f"{folder} is a decoder: its tokens see only those before them.", _HINT)
        self.limit = min(_LIMIT, self._network.config.max_position_embeddings, self._tokenizer.model_max_length)
        self._cut: set[str] = set()

    @property
    def cut(self) -> int:
        """Different texts so far that were longer than `limit`; their ends were not read."""
        return len(self._cut)

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Returns the vectors of texts, `[texts, width]`, float32, each of length 1."""
        vectors = np.zeros((len(texts), self._network.config.hidden_size), np.float32)
        for place, encoded in self._encode(texts, progress):
            vectors[place] = encoded.vector.numpy()
        return vectors

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> list[EncodedText]:
        """Returns the vectors of texts and of their tokens."""
        found = dict(self._encode(texts, progress))
        return [found[place] for place in range(len(texts))]

    def _encode(self, texts: Sequence[str], progress: Progress | None) -> Iterator[tuple[int, EncodedText]]:
        """Yields the place of each text and what was made of it, in batches of similar length."""
        lengths = [len(ids) for ids in self._tokenizer(list(texts), verbose=False)["input_ids"]] if texts else []
        self._cut.update(text for text, length in zip(texts, lengths, strict=True) if length > self.limit)
        order = sorted(range(len(texts)), key=lambda place: (lengths[place], place))
        for start in range(0, len(order), _BATCH):
            if progress:
                progress("encoder", start, len(order))
            places = order[start : start + _BATCH]
            inputs = self._tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=self.limit,
                return_special_tokens_mask=True,
                return_tensors="pt",
            )
            own = inputs.pop("special_tokens_mask") == 0
            mask = inputs["attention_mask"]
            with torch.inference_mode():
                states = self._network(**inputs.to(self._device)).last_hidden_state.cpu()
            mask = mask.unsqueeze(-1).to(states.dtype)
            vectors = normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
            for place, vector, tokens, is_own in zip(places, vectors, states, own, strict=True):
                yield place, EncodedText(vector, normalize(tokens[is_own], dim=-1))


def measure_similarity(
    encoder: SentenceEncoder,
    answers: Sequence[str | None],
    references: Sequence[str],
    progress: Progress | None = None,
) -> dict[str, Statistic]:
    """Measures by an encoder how alike answers and references are; a text without a token is like nothing, 0.

    Args:
        encoder: Of both.
        answers: `None` for a row that has no value.
        references: As many.
        progress: Is told how many rows are done.

    Returns:
        The statistics of `bertscore_f1` and `similarity`.
    """
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    matched, similar = np.full(len(answers), np.nan), np.full(len(answers), np.nan)
    for start in range(0, len(rows), _ROWS):
        if progress:
            progress("similarity", start, len(rows))
        pairs = [(answers[row] or "", references[row]) for row in rows[start : start + _ROWS]]
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        encoded = dict(zip(texts, encoder.encode(texts), strict=True))
        for row, (answer, reference) in zip(rows[start : start + _ROWS], pairs, strict=True):
            ours, theirs = encoded[answer], encoded[reference]
            matched[row] = compute_bertscore(ours.tokens, theirs.tokens)
            empty = not (len(ours.tokens) and len(theirs.tokens))
            similar[row] = 0.0 if empty else min(float(ours.vector @ theirs.vector), 1.0)
    return {"bertscore_f1": make_mean(matched), "similarity": make_mean(similar)}


def compute_bertscore(answer: Tensor, reference: Tensor) -> float:
    """Returns BERTScore's F1 (Zhang et al., 2020): each token is matched with the most similar one of the other text.

    Tokens count alike (no idf), and values are not rescaled.

    Args:
        answer: `[tokens, width]`, normalized, without special tokens.
        reference: `[tokens, width]`, normalized, without special tokens.
    """
    if not (len(answer) and len(reference)):
        return 0.0
    cosines = answer @ reference.T
    precision, recall = float(cosines.amax(1).mean()), float(cosines.amax(0).mean())
    return min(2 * precision * recall / (precision + recall), 1.0) if precision + recall > 0 else 0.0


def _check_folder(folder: Path) -> None:
    """Refuses a folder without the files of an encoder, and one whose sentence vectors are made in another way."""
    for found, what in (
        ((folder / "config.json").is_file(), "config.json"),
        (any(folder.glob("*.safetensors")), "weights in safetensors"),
        (has_tokenizer(folder), "tokenizer"),
    ):
        if not found:
            raise InputError(f"{folder} is no encoder: it has no {what}.", _HINT)
    try:
        modules = [str(module["type"]).rpartition(".")[2] for module in _read(folder / "modules.json")]
        pooling = dict(_read(folder / "1_Pooling" / "config.json"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder}: modules.json or 1_Pooling cannot be read.", _HINT) from error
    others = [name for name in modules if name not in _MODULES]
    modes = [mode for mode, used in pooling.items() if mode.startswith("pooling_mode_") and used is True]
    if others or modes not in ([], ["pooling_mode_mean_tokens"]):
        raise InputError(f"{folder} makes its vectors with {', '.join(others or modes)}, not with a mean.", _HINT)


def _read(path: Path) -> Any:
    """Reads a file of sentence-transformers, which a plain encoder does not have."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _compute_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *(folder / name for name in _FILES)]):
        if path.is_file():
            digest.update(f"{path.name} {compute_digest(path)}\n".encode())
    return digest.hexdigest()


def _load(folder: Path) -> tuple[Any, Any]:
    """Loads network and tokenizer; transformers would fill weights that are missing with random numbers."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    config = read_config(folder)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"it is an encoder-decoder ({config.model_type}).")
    if not all(hasattr(config, name) for name in ("vocab_size", "hidden_size", "max_position_embeddings")):
        raise ValueError(f"{config.model_type} does not read text.")
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    loaded: Any = AutoModel.from_pretrained(
        folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
    )
    missing = sorted(key for key in loaded[1]["missing_keys"] if not key.startswith("pooler."))  # which is not used
    if missing:
        raise ValueError(f"{len(missing)} weights are missing, for instance {missing[0]}.")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return loaded[0], tokenizer


def _reads_both_ways(network: Any, device: torch.device) -> bool:
    """Returns whether the state of a first token depends on the second."""
    with torch.inference_mode():
        states = network(input_ids=torch.tensor([[5, 6], [5, 7]], device=device)).last_hidden_state[:, 0]
    return not torch.allclose(states[0], states[1], rtol=0, atol=1e-6)
