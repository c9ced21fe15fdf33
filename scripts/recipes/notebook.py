"""The original notebook's recipe: transformers' own Trainer, rows padded to one length, loss on all their tokens.

The end token is the padding token, as in most notebooks for GPT-2, and transformers' collator takes the labels of all
padding tokens out of the loss: with them go the true ends, so that the model never learns to end an answer.
"""

from __future__ import annotations

import copy
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from training.padding import pad_rows
from training.rows import IGNORED, Rows
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.export.hf_folder import write_hf_folder
from lightning_med.export.trained_model import TrainedModel
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.model.execution import get_context_length
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.tokenizer import store_tokenizer
from lightning_med.training.module import DialogueLM
from lightning_med.utils.console import Progress, show_progress
from lightning_med.utils.files import make_temporary_folder
from recipes.clock import ProcessorClock, TokenCount, choose_validations
from recipes.plans import LENGTH, Task

SETTINGS: dict[
    str, Any
] = {  # what the notebook says; all else is as TrainingArguments has it: no warm-up, no decay of weights
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "per_device_train_batch_size": 8,
}
_VALIDATED = 8  # rows of a batch


class RowCollator:
    """Pads rows, makes the labels as transformers does, and notes which rows are in each batch.

    Args:
        tokenizer: Its padding token is its end token.
        length: Tokens that every row is padded to.

    Attributes:
        rows: Numbers of each batch's rows; the trainer may have fetched one batch more than it has trained on.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, length: int) -> None:
        self.length, self.tokenizer = length, tokenizer
        self._collate = DataCollatorForLanguageModeling(tokenizer, mlm=False)
        self.rows: list[list[int]] = []

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        self.rows.append([example["row"] for example in examples])
        padding: dict[str, Any] = {"padding": "max_length", "max_length": self.length}
        ids = [{"input_ids": example["input_ids"]} for example in examples]
        return dict(self._collate([self.tokenizer.pad(row, **padding) for row in ids]))


class NotebookRun(TrainerCallback):
    """Runs the clock, validates at equal distances, and keeps the weights of the best validation.

    Args:
        clock: Is paused during validation.
        network: That is trained.
        validation: Rows; `None` for a run that is only timed.
        steps: Of the run.
        progress: Is told how many steps are done.
    """

    def __init__(
        self, clock: ProcessorClock, network: PreTrainedModel, validation: Rows | None, steps: int, progress: Progress
    ) -> None:
        self.clock, self.network, self.validation, self.progress = clock, network, validation, progress
        self.every = steps // choose_validations(steps)
        self.validations: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.run()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.count_step()
        self.progress("steps", state.global_step, state.max_steps)
        if self.validation is None or state.global_step % self.every:
            return
        self.clock.pause()
        perplexity = float(np.exp(measure_answers(self.network, self.validation, args.bf16)))
        if perplexity < min((one["perplexity"] for one in self.validations), default=float("inf")):
            self.best = copy.deepcopy(self.network.state_dict())
        self.validations.append({"step": state.global_step, "perplexity": perplexity})


@torch.inference_mode()
def measure_answers(network: PreTrainedModel, rows: Rows, bf16: bool) -> float:
    """Returns the mean loss of the answers' tokens, in nats, with transformers' own forward pass."""
    was_training = network.training
    network.eval()
    order, total, count = np.argsort(rows.lengths, kind="stable").tolist(), 0.0, 0
    for start in range(0, len(order), _VALIDATED):
        batch = pad_rows(rows, order[start : start + _VALIDATED])
        labels = batch.pop("labels")[:, 1:].flatten()
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            logits = network(**batch).logits[:, :-1].flatten(0, 1)
        learned = labels != IGNORED
        total += float(nn.functional.cross_entropy(logits[learned].float(), labels[learned], reduction="sum"))
        count += int(learned.sum())
    network.train(was_training)
    return total / count


def load_start(task: Task, data: DialogueDataModule) -> PreTrainedModel:
    """Returns transformers' own network with the weights that ours starts from, in float32."""
    if task.base is not None and task.plan.needs_base:
        return AutoModelForCausalLM.from_pretrained(task.base, dtype=torch.float32, local_files_only=True)
    tokenizer, fields = data.prepared.tokenizer, dict(task.plan.model["from_scratch"])
    network = build_from_scratch(fields, len(tokenizer), tokenizer.eos_token_id, 0.0, task.seed)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def make_tokenizer(data: DialogueDataModule) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of the training, its end token as padding token."""
    tokenizer = make_exported_tokenizer(store_tokenizer(data.prepared.tokenizer), data.prompt)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def make_examples(store: TokenStore) -> Dataset:
    """Returns the training rows with their numbers."""
    rows = range(len(store))
    return Dataset.from_dict({"row": list(rows), "input_ids": [store.input_ids(row).tolist() for row in rows]})


def train_notebook(
    task: Task, data: DialogueDataModule, clock: ProcessorClock, steps: int, validate: bool
) -> tuple[PreTrainedModel, list[dict[str, float]], TokenCount]:
    """Trains, and returns the network of the best validation, the validations, and what was seen.

    Args:
        task: What to train.
        data: Prepared.
        clock: A new one.
        steps: Of the run; the rate falls linearly to 0 over them.
        validate: Otherwise the network is the last one.
    """
    disable_progress_bar()
    network, tokenizer, store = load_start(task, data), make_tokenizer(data), data.store("train")
    collator, validation = RowCollator(tokenizer, LENGTH), Rows.from_store(data.store("validation"))
    with tempfile.TemporaryDirectory() as folder, show_progress("The notebook's recipe") as progress:
        run = NotebookRun(clock, network, validation if validate else None, steps, progress)
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            seed=task.seed,
            bf16=True,
            use_cpu=True,
            remove_unused_columns=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **SETTINGS,
        )
        trainer = Trainer(network, arguments, collator, make_examples(store), callbacks=[run])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    clock.pause()
    if run.best:
        network.load_state_dict(run.best)
    seen = TokenCount()
    for rows in collator.rows[: clock.steps]:
        seen.add_batch(store, rows, LENGTH)
    return network, run.validations, seen


def export_notebook(network: PreTrainedModel, task: Task, data: DialogueDataModule, steps: int, folder: Path) -> None:
    """Writes the network as an export of ours, with the prompt and the decoding settings that ours has."""
    tokenizer, context = make_tokenizer(data), get_context_length(network)
    tokenizer.model_max_length = context
    decoding = DialogueLM(**task.model_settings).decoding
    card = {"max_length": data.recipe.max_length, "settings": {"model": task.model_settings}}
    card["data"] = {"fingerprint": data.prepared.fingerprint}
    stops = Encoder(tokenizer, data.prompt, data.recipe.max_length).stops
    model = TrainedModel(network, tokenizer, data.prompt, decoding, stops, context, card, steps)
    temporary = make_temporary_folder(folder)
    write_hf_folder(model, temporary, "float32", lambda what, done, total: None)
    temporary.rename(folder)
