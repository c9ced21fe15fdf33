"""PreparedDataModule: the part of the data module that prepares consultations and opens what was prepared."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import lightning as L
import numpy as np

from lightning_med.checkpoints.reading import check_same
from lightning_med.data.batching.seen_rows import SeenRows
from lightning_med.data.leaks.leak_search import describe_leaks
from lightning_med.data.preparation.cache.key_parts import KeyParts
from lightning_med.data.preparation.pipeline import Prepared, digest_sources, find_own_splits, prepare
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.preparation.token_pass import NOTHING_TO_TRAIN
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.data.splits.own_splits import describe_own_splits
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError

_EVALUATED = {"validate": "validation", "test": "test", "predict": "test"}  # the split of each of a trainer's functions


class PreparedDataModule(L.LightningDataModule):
    """Prepares consultations once and opens the tokens of their splits.

    Attributes:
        recipe: What shapes the prepared data; set by subclasses.
        cache_dir: Where it is kept; see `lightning_med.data.preparation.pipeline.prepare`. Set by subclasses.
    """

    recipe: Recipe
    cache_dir: str | None

    def __init__(self) -> None:
        super().__init__()
        self._tokenizer_text: str | None = None
        self._own_prompt: Prompt | None = None
        self._own_parts: KeyParts | None = None
        self._prepared: Prepared | None = None
        self._stores: dict[str, TokenStore] = {}
        self._seen: SeenRows | None = None
        self._unseen: dict[str, np.ndarray] = {}  # rows by split; they are looked for, and counted in a line, once
        self._run_content: str | None = None  # where all rows of other data count
        self._checked_content: str | None = None  # where other data is not checked against tables

    def prepare_data(self) -> None:
        split = _EVALUATED.get(self._stage)
        if split and self._checked_content is not None and self._is_other_data(self._checked_content):
            self.recipe = replace(self.recipe, check_against=())
        if split and self._run_content is not None and self._is_other_data(self._run_content):
            self._take_all_rows(split)
        own = (self._tokenizer_text, self._own_prompt, self._own_parts)
        self._prepared = prepare(self.recipe, self.cache_dir, *own)
        for describe in () if split else (describe_own_splits, describe_leaks):
            if line := describe(self._prepared.report):
                say(line, self.trainer)

    def setup(self, stage: str | None = None) -> None:
        if self._prepared is None:
            PreparedDataModule.prepare_data(self)
        split = _EVALUATED.get(self._stage)
        if self._stage == "fit" and not len(self.store("train")):
            raise InputError(*NOTHING_TO_TRAIN)
        if split and not len(self.store(split)):
            raise InputError(
                f"{self._stage}: no row is in the {split} split.",
                "Give --data.val_fraction 0.05" if split == "validation" else "Give --data.test_fraction 0.1",
            )

    @property
    def _stage(self) -> str:
        """What the trainer does, `fit`, `validate`, `test` or `predict`; empty without one."""
        function = getattr(getattr(self.trainer, "state", None), "fn", None)
        return str(function.value) if function else ""

    def count_all_rows(self, content: str) -> None:
        """Makes an evaluation of other data than a run's count all rows that are of no other own split.

        Args:
            content: The digest of the run's sources, of which only the run's own split counts.
        """
        self._run_content = content

    def check_run_data_alone(self, content: str) -> None:
        """Makes an evaluation of other data than a run's leave out no row for the run's `check_against`.

        Args:
            content: The digest of the run's sources.
        """
        self._checked_content = content

    def _is_other_data(self, content: str) -> bool:
        return digest_sources(self.recipe, self.cache_dir) != content

    def _take_all_rows(self, split: str) -> None:
        own = find_own_splits(self.recipe)
        if own and not {split, None} & set(own):
            raise InputError(
                f"{self._stage}: the data has own splits, {' and '.join(s for s in SPLITS if s in own)}, but no"
                f" {split} split.",
                "Name the file to count alone; or count all rows: --data.source '[{path: PATH, split: mixed}]'",
            )
        test = float(split == "test")
        self.recipe = replace(self.recipe, test_fraction=test, val_fraction=1 - test)

    def use_tokenizer(self, text: str, prompt: Prompt | None = None) -> None:
        """Uses a checkpoint's own tokenizer instead of the one that the settings name.

        Args:
            text: The tokenizer as text.
            prompt: The checkpoint's prompt, for an evaluation; `None` for the one that the settings choose.

        Raises:
            InputError: The settings name another system prompt or format than the checkpoint's.
        """
        if prompt is not None:
            check_same("system prompt", self.recipe.system_prompt == prompt.system, "--data.system_prompt")
            check_same("prompt format", self.recipe.prompt_format in (None, prompt.format), "--data.prompt_format")
        self._tokenizer_text, self._own_prompt = text, prompt

    def use_prepared(self, data: dict[str, Any]) -> None:
        """Uses the prepared data of a run that is resumed, as long as sources and settings are the same.

        Args:
            data: The checkpoint's entry `data`; those of earlier releases do not say what shaped it.
        """
        if "parts" in data:
            parts = KeyParts.from_dict(data["parts"])
            self._own_parts = parts if parts.tokens_key == data["fingerprint"] else None

    def leave_out(self, keys: np.ndarray, fingerprint: str) -> None:
        """Leaves rows out of the evaluation whose questions a run was trained on; see `SeenRows`."""
        self._seen, self._unseen = SeenRows(keys, fingerprint), {}

    @property
    def prepared(self) -> Prepared:
        """The prepared data; made at first use."""
        if self._prepared is None:
            PreparedDataModule.prepare_data(self)
        assert self._prepared is not None
        return self._prepared

    @property
    def prompt(self) -> Prompt:
        """The text around questions and answers."""
        return self.prepared.prompt

    @property
    def longest(self) -> int:
        """Tokens of the longest consultation, over all splits."""
        return max(int(self.store(split).lengths.max(initial=0)) for split in SPLITS)

    @cached_property
    def encoder(self) -> Encoder:
        """Turns text into the ids that training sees."""
        return Encoder(self.prepared.tokenizer, self.prompt, self.recipe.max_length)

    def store(self, split: str) -> TokenStore:
        """Returns the tokens of `train`, `validation` or `test`."""
        if split not in self._stores:
            self._stores[split] = self.prepared.store(split)
        return self._stores[split]

    def select_rows(self, split: str) -> np.ndarray:
        """Returns the rows of a split that an evaluation counts."""
        store = self.store(split)
        if self._seen is None:
            return np.arange(len(store))
        if split not in self._unseen:
            self._unseen[split] = self._seen.select_unseen(store, split, self.prepared)
        return self._unseen[split]
