"""DialogueDataModule: a table of consultations as batches for the trainer."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from lightning_med.data.batching import batch_plan, collate
from lightning_med.data.batching.batch_dataset import BatchDataset, make_loader
from lightning_med.data.batching.resume_position import restore_position
from lightning_med.data.batching.step_size import check_accumulation
from lightning_med.data.cleaning.cleaner import resolve_rules
from lightning_med.data.preparation.pipeline import Prepared, prepare
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.data.sources.source import parse_sources
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization import encoder
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import SYSTEM_PROMPT, Prompt
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, check_range

PREDICTED_AT_ONCE = {"cpu": 32, "cuda": 256}  # questions answered side by side; a GPU hardly notices more of them


class DialogueDataModule(L.LightningDataModule):
    """Loads, cleans, splits and tokenizes consultations, once, and serves them in batches.

    Args:
        source: A CSV, TSV, JSON, JSONL or Parquet file, a folder or glob of them, `kaggle:OWNER/NAME`,
            `hub:OWNER/NAME`, or `sample` (the embedded synthetic consultations). Or a list of such, each a path or a
            mapping `{path, weight, question_column, answer_column, messages_column, group_column}`; a weight of 2
            shows a source's training rows twice an epoch, 0.5 half of them, another half each time.
        tokenizer: A name on the Hub, a folder, or `train`: a byte-level BPE trained on the training split.
        vocab_size: Its size where it is trained.
        question_column: The column with the patient's words.
        answer_column: The column with the doctor's.
        messages_column: In place of the two, a column with conversations of several turns: a list of messages with
            `role` (user, assistant) and `content`. Every turn of the doctor is learned.
        group_column: A column whose equal values stay on one side of the split, a patient's number for instance.
        system_prompt: What stands before every consultation; every row pays for its tokens.
        max_length: Tokens a consultation may have in training; longer ones are cut so that the answer survives first.
        eval_max_length: The same for validation and test, where whole answers count; the model's context is the limit.
        test_fraction: Share of the questions held back for `test` and `predict`.
        val_fraction: Share of all questions held back for validation, taken out of training's part.
        batch_tokens: Tokens a batch holds; memory grows with it, and a GPU wants it as large as fits. `auto` measures
            once what fits, 80 % of a GPU's free memory or 25 % of the machine's, says so, and keeps to it.
        tokens_per_step: Tokens of an optimizer step, by default those of a batch. A step takes the rows that fit,
            whatever `batch_tokens` is, in equally many batches each, and its loss is the mean over its learned
            tokens. It sets the trainer's `accumulate_grad_batches`.
        pad_to_max_length: Pad rows to `max_length` as the usual recipes do; the same loss, several times slower.
        num_workers: Processes that build batches; 0 is enough where the model is not very fast.
        rules: Cleaning rules to switch on or off by name, for instance `{cut_answer: true, apostrophes: false}`.
        private_data: Replace e-mail addresses, phone, card and identity numbers, links, postal addresses and names by
            placeholders such as `[PHONE]`.
        near_duplicates: Keep questions that are nearly the same on one side of the split, not only equal ones.
        on_bad_row: A row that cannot be read is an `error`, or dropped and counted (`drop`).
        seed: Decides the split and the order of the batches.
        cache_dir: Where prepared data is kept; default `$LIGHTNING_MED_CACHE` or `~/.cache/lightning_med`.
    """

    def __init__(
        self,
        source: str | list[str | dict[str, Any]] = "sample",
        tokenizer: str = "distilgpt2",
        vocab_size: int = 4096,
        question_column: str = "input",
        answer_column: str = "output",
        messages_column: str | None = None,
        group_column: str | None = None,
        system_prompt: str = SYSTEM_PROMPT,
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
        on_bad_row: Literal["error", "drop"] = "error",
        seed: int = 42,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        if not (test_fraction >= 0 and val_fraction >= 0 and test_fraction + val_fraction < 1):
            raise InputError(
                f"test_fraction {test_fraction} and val_fraction {val_fraction} leave nothing to train on.",
                "Each is a share of all rows, 0 or more, and together they stay below 1.",
            )
        check_range("num_workers", num_workers, 0)
        check_range("seed", seed, -(2**63), 2**63 - 1)
        if eval_max_length < max_length:
            raise InputError(
                f"eval_max_length {eval_max_length} is below max_length {max_length}.",
                f"Give --data.eval_max_length {max_length} or more.",
            )
        if batch_tokens != "auto" and batch_tokens < max_length:
            raise InputError(
                f"batch_tokens {batch_tokens} cannot hold one consultation of max_length {max_length}.",
                f"Give --data.batch_tokens {max_length} or more, or a shorter --data.max_length.",
            )
        if tokens_per_step is not None and tokens_per_step < max_length:
            raise InputError(
                f"tokens_per_step {tokens_per_step} cannot hold one consultation of max_length {max_length}.",
                f"Give --data.tokens_per_step {max_length} or more, or a shorter --data.max_length.",
            )
        self.save_hyperparameters(logger=False)
        columns = {
            "question_column": question_column,
            "answer_column": answer_column,
            "messages_column": messages_column,
            "group_column": group_column,
        }
        self.recipe = Recipe(
            sources=tuple(parse_sources(source, **columns)),
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            system_prompt=system_prompt,
            max_length=max_length,
            eval_max_length=eval_max_length,
            test_fraction=test_fraction,
            val_fraction=val_fraction,
            rules=resolve_rules(rules or {}),
            private_data=private_data,
            near_duplicates=near_duplicates,
            on_bad_row=on_bad_row,
            seed=seed,
        )
        self.prompt = Prompt(system_prompt)
        self.seed, self.num_workers, self.cache_dir = seed, num_workers, cache_dir
        self.tokens_per_step = tokens_per_step
        self._batch_tokens = batch_tokens
        self._window: int | None = None  # what this module gave to the trainer
        self.padded = max_length if pad_to_max_length else None
        self.tokenizer_text: str | None = None  # a checkpoint's own, where one is loaded
        self._prepared: Prepared | None = None
        self._stood: dict[str, Any] = {}  # how a checkpoint counts its batches
        self._stores: dict[str, TokenStore] = {}
        self._seen: tuple[np.ndarray, str] | None = None

    def prepare_data(self) -> None:
        if self.trainer is not None and self.trainer.state.fn == "fit":
            check_accumulation(self.tokens_per_step, self.trainer.accumulate_grad_batches, self._window)
        self._prepared = prepare(self.recipe, self.cache_dir, self.tokenizer_text)

    def setup(self, stage: str | None = None) -> None:
        if self.trainer is not None:
            # Each loader serves its rank's share already; another sampler over it would share it out twice.
            self.trainer._accelerator_connector.use_distributed_sampler = False
        self._prepared = self._prepared or prepare(self.recipe, self.cache_dir, self.tokenizer_text)

    @property
    def prepared(self) -> Prepared:
        """The prepared data; made at first use."""
        self.setup()
        assert self._prepared is not None
        return self._prepared

    @property
    def longest(self) -> int:
        """Tokens of the longest consultation, over all splits."""
        return max(int(self.store(split).lengths.max(initial=0)) for split in SPLITS)

    @cached_property
    def encoder(self) -> Encoder:
        """Turns text into the ids that training sees."""
        return Encoder(self.prepared.tokenizer, self.prompt, self.recipe.max_length)

    def store(self, split: str) -> TokenStore:
        """The tokens of `train`, `validation` or `test`."""
        if split not in self._stores:
            self._stores[split] = self.prepared.store(split)
        return self._stores[split]

    @property
    def batch_tokens(self) -> int:
        """Tokens a batch holds; where they are `auto`, measured at first use, with a trainer and its network.

        Raises:
            InputError: They are `auto`, and there is no network to measure.
        """
        if self._batch_tokens == "auto":
            module: Any = getattr(self.trainer, "lightning_module", None)
            if self.trainer is None or getattr(module, "model", None) is None:
                raise InputError(
                    "batch_tokens auto measures a network, and there is none yet.",
                    "Give --data.batch_tokens a number, or the data to a trainer with a DialogueLM.",
                )
            found = module.budget(self.recipe.max_length)
            # One number for all ranks: they must agree on the batches.
            self._keep_batch_tokens(self.trainer.strategy.broadcast(found.tokens))
            say(f"batch_tokens auto: {found}.", self.trainer)
        return int(self._batch_tokens)

    @property
    def window(self) -> int:
        """Batches of an optimizer step on each rank."""
        if self.tokens_per_step is not None:
            return (
                batch_plan.count_batches(self.tokens_per_step, self.batch_tokens, self.recipe.max_length, self.ranks)
                // self.ranks
            )
        return 1 if self.trainer is None else int(self.trainer.accumulate_grad_batches)

    @property
    def rank(self) -> int:
        """This process among those that train together."""
        return 0 if self.trainer is None else int(self.trainer.global_rank)

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return 1 if self.trainer is None else int(self.trainer.world_size)

    @property
    def step_tokens(self) -> int:
        """Tokens that an optimizer step may hold, over its batches and ranks."""
        return self.tokens_per_step or self.batch_tokens * self.window * self.ranks

    def state_dict(self) -> dict[str, Any]:
        if self._batch_tokens == "auto":
            return {}
        return {"batch_tokens": self._batch_tokens, "window": self.window, "ranks": self.ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._stood = state_dict
        # Another measurement would cut other batches, and the place in the epoch is counted in them.
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        if self._batch_tokens == "auto" and fitting and "batch_tokens" in state_dict:
            self._keep_batch_tokens(max(int(state_dict["batch_tokens"]), self.recipe.max_length))
            say(f"batch_tokens auto: {self.batch_tokens:,}, as in the checkpoint.", self.trainer)

    def epoch_plan(self, epoch: int) -> list[np.ndarray]:
        """Rows of each training batch of an epoch, over all ranks; which step has which is a function of (seed, epoch).

        A step takes `window * ranks` batches, the last maybe fewer; rank r has each `ranks`-th from the r-th on.
        """
        store = self.store("train")
        weights = np.array([source.weight for source in self.recipe.sources])
        order = batch_plan.shuffle_rows(len(store), self.seed, epoch)
        if (weights != 1).any():
            order = batch_plan.repeat_by_weight(order, weights[store.sources], self.seed, epoch)
            if not len(order):
                raise InputError(
                    f"The sources' weights leave no training row in epoch {epoch}.", "Raise the weight of one."
                )
        lengths, longest = self._lengths(store), self.recipe.max_length
        if self.tokens_per_step is None:
            return batch_plan.balance_last_step(
                self._plan(store, order), lengths, self.batch_tokens, self.window * self.ranks, self.ranks
            )
        return batch_plan.plan_steps(lengths, self.batch_tokens, order, self.tokens_per_step, longest, self.ranks)

    def train_dataloader(self) -> DataLoader[collate.Batch]:
        # Batches are cut by tokens, so their number differs by one or two from epoch to epoch: each has its own loader.
        epoch, window, done = 0, self.window, 0
        if self.trainer is not None:
            self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
            if self.tokens_per_step is not None:
                check_accumulation(self.tokens_per_step, self.trainer.accumulate_grad_batches, self._window)
                self._window = self.trainer.accumulate_grad_batches = window  # the loops read it at every batch
            epoch, done = self.trainer.current_epoch, self._done(window)
        return self._loader("train", self.epoch_plan(epoch), window, done)

    def val_dataloader(self) -> DataLoader[collate.Batch]:
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[collate.Batch]:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[list[dict[str, Any]]]:
        """The test questions with their references, those of like length together so that little is padded."""
        store = self.store("test")
        rows = self._unseen("test")
        order = rows[np.argsort(store.targets[encoder.QUESTION][rows], kind="stable")]
        device = "cpu" if self.trainer is None else self.trainer.strategy.root_device.type
        size = PREDICTED_AT_ONCE.get(device, PREDICTED_AT_ONCE["cpu"])
        groups = [order[i : i + size] for i in range(0, len(order), size)][self.rank :: self.ranks]
        return DataLoader([[store.texts(row) for row in group] for group in groups], batch_size=None)  # type: ignore[arg-type]

    def leave_out(self, keys: np.ndarray, fingerprint: str) -> None:
        """Leaves the rows out of the evaluation whose questions a run was trained on, as its checkpoint names them.

        Args:
            keys: Of `TokenStore.question_keys`.
            fingerprint: Of that run's data.
        """
        self._seen = (keys, fingerprint)

    def _unseen(self, split: str) -> np.ndarray:
        """The rows that an evaluation counts.

        Raises:
            InputError: There is none.
        """
        rows = np.arange(len(self.store(split)))
        if self._seen is None:
            return rows
        keys, fingerprint = self._seen
        unseen = rows[~np.isin(self.store(split).question_keys, keys)]
        ours = self.prepared.fingerprint
        what = f"The data is not the run's ({ours[:8]} here, {fingerprint[:8]} there)"
        left = f"{len(rows) - len(unseen):,} of {len(rows):,} {split} rows were trained on"
        if len(rows) and not len(unseen):
            raise InputError(f"{what}, and {left}: none is left.", "Name rows that the model has not seen.")
        say(f"{what}: {left} and are left out.", self.trainer)
        return unseen

    @property
    def _resuming(self) -> bool:
        return self.trainer is not None and self.trainer.fit_loop.restarting

    def _done(self, window: int) -> int:
        """Batches of this epoch that a resumed fit has behind it, on each rank."""
        if not self._resuming or self.trainer is None:
            return 0
        before = int(self._stood.get("window", window))
        last = len(self.epoch_plan(self.trainer.current_epoch)) // self.ranks
        self._stood = {**self._stood, "window": window}  # the counts are of now
        return restore_position(self.trainer.fit_loop, before, window, last)

    def _keep_batch_tokens(self, tokens: int) -> None:
        """Settles `auto`, also in what a run and its checkpoints say of their settings."""
        self._batch_tokens = self.hparams["batch_tokens"] = tokens
        settings = getattr(getattr(self.trainer, "lightning_module", None), "settings", {})
        if "data" in settings:
            settings["data"]["batch_tokens"] = tokens

    def _plan(self, store: TokenStore, order: np.ndarray) -> list[np.ndarray]:
        return batch_plan.plan_batches(self._lengths(store), self.batch_tokens, order)

    def _lengths(self, store: TokenStore) -> np.ndarray:
        """Tokens that each row takes in a batch."""
        width = self._width(store)
        return store.lengths if width is None else np.full(len(store), width)

    def _width(self, store: TokenStore) -> int | None:
        """The common length of padded batches: `max_length`, or that of a longer row of validation or test."""
        return None if self.padded is None else max(self.padded, int(store.lengths.max(initial=0)))

    def _loader(
        self, split: str, plan: list[np.ndarray] | None = None, window: int = 1, done: int = 0
    ) -> DataLoader[collate.Batch]:
        store = self.store(split)
        if plan is None:
            plan = self._plan(store, self._unseen(split))
            plan += [np.empty(0, dtype=np.int64)] * (-len(plan) % self.ranks)
        pad_id = self.prepared.tokenizer.pad_token_id
        batches = BatchDataset(store, plan, window * self.ranks, self._width(store), pad_id)
        return make_loader(batches, done, self.num_workers, self.rank, self.ranks)
