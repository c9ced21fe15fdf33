"""DialogueDataModule: a table of consultations, served in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from lightning_med.data.batching.collate import Batch
from lightning_med.data.batching.epoch_planner import EpochPlanner
from lightning_med.data.batching.loaders import measure_rows
from lightning_med.data.batching.loop_limits import LoopLimits, ValidationInterval
from lightning_med.data.batching.resume_position import restore_position
from lightning_med.data.batching.tokens_per_step import StepSize
from lightning_med.data.cleaning.cleaner import resolve_rules
from lightning_med.data.evaluated_module import EvaluatedDataModule
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.sources.source import parse_sources
from lightning_med.tokenization.prompts import FORMATS, SYSTEM_PROMPT
from lightning_med.tokenization.tokenizer import LEAST_VOCABULARY
from lightning_med.utils.argument_types import check_types
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, check_range

_COLUMNS = ("question_column", "answer_column", "messages_column", "group_column", "instruction_column")


class DialogueDataModule(EvaluatedDataModule):
    """Loads, cleans, splits and tokenizes consultations once, and serves them in batches.

    Args:
        source: A CSV, TSV, JSON, JSONL, Parquet, Excel or ODS file, also `.csv.gz` and the like, a folder or glob of
            them, a `.zip` with such files, `kaggle:OWNER/NAME`, `hub:OWNER/NAME`, or `sample` (the embedded synthetic
            consultations). Or a list of such, each a path or a mapping of `path`, `weight`, `split` and the columns
            below; a weight of 2 shows a source's training rows twice an epoch, 0.5 half of them, another half each
            time. Files that are named as training, validation and test stay apart; `split` is `train`, `validation` or
            `test` where names do not say it, `mixed` where they are not meant. `{train: FILE, test: FILE}`, with
            `validation` or without, is short for a list with `split`. A table with neither of the two columns below
            and one of messages is read by that.
        tokenizer: A name on the Hub, a folder, or `train`: a byte-level BPE trained on the training split.
        vocab_size: Its size where it is trained.
        question_column: The column with the patient's words.
        answer_column: The column with the doctor's words.
        messages_column: Instead of these two, a column with conversations of several turns: a list of messages with
            `role` (user, assistant) and `content`. Every turn of the doctor is learned, unless it is marked with
            `weight: 0` or `train: false`.
        group_column: A column whose equal values stay on one side of the split, for instance a patient's number.
        instruction_column: A column whose text stands before the question, after it an empty line, then the question.
            `auto` takes the column `instruction` beside the question column `input`, as Alpaca's tables have it, unless
            it is the same in all rows of all sources: that is a system prompt. `null` takes none.
        system_prompt: Text before every consultation; every row pays for its tokens.
        prompt_format: `chat` writes consultations as the tokenizer's own chat template does, `plain` as
            "Patient: … Doctor: …"; by default `chat` where there is a template.
        add_tokens: Words that get a token of their own, for instance `["[PHONE]", "[NAME]"]`; new rows of the base's
            embedding are learned for them.
        max_length: Tokens a consultation may have in training; a longer question is cut first, then the answer.
        eval_max_length: The same for validation and test, where whole answers count; the model's context is the limit.
        test_fraction: Share of the questions held back for `test` and `predict`; 1 to evaluate all rows of a table.
        val_fraction: Share of all questions held back for validation, taken out of training's part.
        batch_tokens: Tokens a batch holds; memory grows with it, and a GPU wants it as large as fits. `auto` measures
            once what fits (80 % of a GPU's free memory, 25 % of the machine's), says so, and keeps to it.
        tokens_per_step: Tokens of an optimizer step, by default those of a batch. A step takes the rows that fit,
            whatever `batch_tokens` is, in equally many batches each; its loss is the mean over its learned tokens. It
            sets the trainer's `accumulate_grad_batches`.
        pad_to_max_length: Pad rows to `max_length` as usual recipes do; the same loss, several times slower.
        num_workers: Processes that build batches; 0 is enough unless the model is very fast.
        rules: Cleaning rules to switch on or off by name, for instance `{cut_answer: true, apostrophes: false}`.
        private_data: Replace e-mail addresses, phone, card and identity numbers, links, postal addresses and names by
            placeholders such as `[PHONE]`.
        near_duplicates: Keep nearly equal questions on one side of the split, not only equal ones.
        check_against: Tables, or one, such as public tests, as `source` names them. A row whose question or long answer
            equals or nearly equals one of theirs is left out of all splits, and counted.
        on_bad_row: A row that cannot be read is an `error`, or dropped and counted (`drop`).
        seed: Decides the split and the order of the batches.
        cache_dir: Where prepared data is kept; default `$LIGHTNING_MED_CACHE` or `~/.cache/lightning_med`.
    """

    def __init__(
        self,
        source: str | dict[str, Any] | list[str | dict[str, Any]] = "sample",
        tokenizer: str = "distilgpt2",
        vocab_size: int = 4096,
        question_column: str = "input",
        answer_column: str = "output",
        messages_column: str | None = None,
        group_column: str | None = None,
        instruction_column: str | None = "auto",
        system_prompt: str = SYSTEM_PROMPT,
        prompt_format: Literal["plain", "chat"] | None = None,
        add_tokens: list[str] | None = None,
        max_length: int = 512,
        eval_max_length: int = 1024,
        test_fraction: float = 0.1,
        val_fraction: float = 0.05,
        batch_tokens: int | Literal["auto"] = 8192,
        tokens_per_step: int | None = None,
        pad_to_max_length: bool = False,
        num_workers: int = 0,
        rules: dict[str, bool] | None = None,
        private_data: bool = True,
        near_duplicates: bool = True,
        check_against: str | list[str] | None = None,
        on_bad_row: Literal["error", "drop"] = "error",
        seed: int = 42,
        cache_dir: str | None = None,
    ) -> None:
        _refuse_frame(source)
        check_types(DialogueDataModule, locals())
        super().__init__()
        check_range("num_workers", num_workers, 0)
        check_range("seed", seed, -(2**63), 2**63 - 1)
        self.save_hyperparameters(logger=False)
        self.recipe = _make_recipe(self.hparams)
        self.step_size = StepSize(self.hparams)
        self.seed, self.num_workers, self.cache_dir = seed, num_workers, cache_dir
        self.padded = max_length if pad_to_max_length else None
        self._restored: dict[str, Any] = {}  # how a checkpoint counts its batches
        self._interval: ValidationInterval | None = None  # during a fit

    def prepare_data(self) -> None:
        if self.trainer is not None and self.trainer.state.fn == "fit":
            if self.recipe.test_fraction + self.recipe.val_fraction >= 1:
                raise InputError(*_explain_fractions(self.recipe.test_fraction, self.recipe.val_fraction))
            self.step_size.check_accumulation(self.trainer.accumulate_grad_batches, bool(self._limits.changes))
        super().prepare_data()

    @property
    def batch_tokens(self) -> int:
        """Tokens a batch may hold; see `StepSize.batch_tokens`."""
        return self.step_size.batch_tokens

    @property
    def window(self) -> int:
        """Batches of an optimizer step on each rank, in the trainer's current epoch."""
        return self._count_window(0 if self.trainer is None else self.trainer.current_epoch)

    def _count_window(self, epoch: int) -> int:
        return self.step_size.count_window(self.ranks, self._limits.find_window(epoch))

    @property
    def _limits(self) -> LoopLimits:
        return LoopLimits.read(self.trainer)

    def describe_step(self) -> str:
        """Returns the tokens that an optimizer step may hold, over batches and ranks; by epoch where they change."""
        batch = self.batch_tokens * self.ranks
        if changes := self._limits.changes:
            return ", ".join(f"{batch * window} from epoch {epoch}" for epoch, window in changes)
        return str(self.step_size.tokens_per_step or batch * self.window)

    def state_dict(self) -> dict[str, Any]:
        if self.step_size.is_auto:
            return {}
        return {"batch_tokens": self.batch_tokens, "window": self.window, "ranks": self.ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict
        # Another measurement would cut other batches, and the position in the epoch is counted in them.
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        if fitting and "batch_tokens" in state_dict and self.step_size.restore_batch_tokens(state_dict["batch_tokens"]):
            say(f"batch_tokens auto: {self.batch_tokens:,}, as in the checkpoint.", self.trainer)

    def plan_epoch(self, epoch: int) -> list[np.ndarray]:
        """Returns the rows of each batch that the trainer runs in an epoch, over all ranks, by (seed, epoch) alone.

        A step takes `window * ranks` batches, the last maybe fewer; rank r has every `ranks`-th, from the r-th.
        """
        limits, window = self._limits, self._count_window(epoch)
        batches = self._planner.plan(limits.choose_epoch(epoch), window, self.ranks)
        return batches[: limits.count_batches(len(batches) // self.ranks) * self.ranks]

    def count_steps(self, epoch: int) -> int:
        """Returns the optimizer steps of an epoch."""
        limits, window = self._limits, self._count_window(epoch)
        planned = self._planner.count(limits.choose_epoch(epoch), window, self.ranks)
        return -(-limits.count_batches(planned // self.ranks) // window)

    @cached_property
    def _planner(self) -> EpochPlanner:
        store = self.store("train")
        weights = np.array([source.weight for source in self.recipe.sources])
        return EpochPlanner(measure_rows(store, self.padded), weights[store.sources], self.step_size, self.seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        # Batches are cut by tokens, so epochs differ by one or two in their number: each epoch has its own loader.
        epoch = done = 0
        if self.trainer is not None:
            self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
            epoch = self.trainer.current_epoch
            if not self._limits.changes:
                window = self.step_size.claim_accumulation(self.ranks, self.trainer.accumulate_grad_batches)
                self.trainer.accumulate_grad_batches = window  # the loops read it at every batch
        window, plan = self._count_window(epoch), self.plan_epoch(epoch)
        if self.trainer is not None:
            last = len(plan) // self.ranks
            if self.trainer.fit_loop.restarting:
                done = restore_position(self.trainer.fit_loop, self._restored.get("window", window), window, last)
                self._restored = {**self._restored, "window": window}  # the trainer's counts are in today's batches now
            if self._interval is None or self._interval.trainer is not self.trainer:
                self._interval = ValidationInterval(self.trainer)
            self._interval.fit_epoch(last)
        planned = self._planner.count(self._limits.choose_epoch(epoch), window, self.ranks) // self.ranks
        length = self._limits.find_length(planned) if epoch else planned
        return self._loaders.make_loader(self.store("train"), plan, window, done, length * self.ranks)

    def teardown(self, stage: str) -> None:
        if self._interval is not None:
            self._interval.restore()
            self._interval = None


def _refuse_frame(source: object) -> None:
    if any(isinstance(one, pd.DataFrame) for one in (source if isinstance(source, list) else [source])):
        hint = "Write it to a file and name that: df.to_csv('notes.csv', index=False); source='notes.csv'"
        raise InputError("source is a DataFrame, which is not read.", hint)


def _make_recipe(settings: Mapping[str, Any]) -> Recipe:
    """Returns what shapes the prepared data, out of the data module's settings.

    Raises:
        InputError: A setting is out of range, or two do not go together.
    """
    for name in ("source", "tokenizer", "cache_dir", *_COLUMNS):
        if settings[name] == "":
            raise InputError(f"{name} is empty.", f"Leave --data.{name} out, or name one.")
    check_range("max_length", settings["max_length"], 1)
    if settings["tokenizer"] == "train":
        check_range("vocab_size", settings["vocab_size"], LEAST_VOCABULARY)
    test, validation = settings["test_fraction"], settings["val_fraction"]
    if not (test >= 0 and validation >= 0 and test + validation <= 1):
        raise InputError(*_explain_fractions(test, validation))
    shortest = settings["max_length"]
    if settings["eval_max_length"] < shortest:
        raise InputError(
            f"eval_max_length {settings['eval_max_length']} is below max_length {shortest}.",
            f"Give --data.eval_max_length {shortest} or more.",
        )
    _check_prompt(settings["tokenizer"], settings["prompt_format"], settings["system_prompt"])
    columns = {name: settings[name] for name in _COLUMNS}
    shaping = {field.name: settings[field.name] for field in fields(Recipe) if field.name in settings}
    sources = tuple(parse_sources(settings["source"], **columns))
    shaping |= {"add_tokens": _check_words(settings["add_tokens"] or [])}
    shaping |= {"check_against": _list_places(settings["check_against"])}
    return Recipe(**{**shaping, "sources": sources, "rules": resolve_rules(settings["rules"] or {})})


def _list_places(check_against: str | list[str] | None) -> tuple[str, ...]:
    places = [check_against] if isinstance(check_against, str) else check_against or []
    if "" in places:
        raise InputError("check_against names an empty path.", "Leave --data.check_against out, or name a table.")
    return tuple(places)


def _explain_fractions(test: float, validation: float) -> tuple[str, str]:
    return (
        f"test_fraction {test} and val_fraction {validation} leave nothing to train on.",
        "Each is a share of all rows, 0 or more, and together they stay below 1. To test all rows of a table:"
        " lightning-med test --data.test_fraction 1 --data.val_fraction 0",
    )


def _check_prompt(tokenizer: str, prompt_format: str | None, system: Any) -> None:
    if not isinstance(system, str):
        raise InputError(f"system_prompt is {system!r}, not text.", "For none: --data.system_prompt ''")
    if prompt_format not in (None, *FORMATS):
        raise InputError(f"prompt_format is {prompt_format!r}.", f"It must be {' or '.join(FORMATS)}.")
    if prompt_format == "chat" and tokenizer == "train":
        raise InputError("A trained tokenizer has no chat template.", "Leave --data.prompt_format chat out.")


def _check_words(words: list[str]) -> tuple[str, ...]:
    for word in words:
        if not isinstance(word, str) or not word.strip() or words.count(word) > 1:
            raise InputError(
                f"--data.add_tokens: {word!r} is empty or there twice.", """For instance '["[PHONE]", "[NAME]"]'."""
            )
    return tuple(words)
