"""What a checkpoint holds beside weights, and whether a run may resume from it or be evaluated with it.

Works on plain values and on the small `Trained` protocol, so that it does not import `DialogueLM`.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch
from lightning import Trainer
from transformers import PreTrainedModel

from lightning_med.checkpoints.reading import ADAPTER_FORMAT, FORMAT, KEY, check_identity, check_same
from lightning_med.data.preparation.cache.key_parts import KeyParts
from lightning_med.model.adaptation import AdapterOrigin
from lightning_med.model.causal_lm import describe_network
from lightning_med.model.perplexity import AnswerLikelihood
from lightning_med.tokenization.prompts import read_prompt
from lightning_med.tokenization.tokenizer import store_tokenizer
from lightning_med.training.fit_loop.fit_end import find_end, is_stopped_early
from lightning_med.training.fit_loop.loop_rules import refresh_callbacks
from lightning_med.training.loss_monitor import LossMonitor
from lightning_med.training.patches.loop import count_epochs, may_stop


class Trained(Protocol):
    """What this file needs of a LightningModule."""

    trainer: Any
    loss_monitor: LossMonitor
    results: dict[str, float]
    adapter_origin: AdapterOrigin | None
    measured_at: int
    monitored: dict[str, float]
    was_stopping: bool
    resume_anyway: bool

    @property
    def network(self) -> PreTrainedModel: ...

    @property
    def hparams(self) -> MutableMapping[str, Any]: ...

    @property
    def seed(self) -> int: ...

    def get_likelihood(self, part: str) -> AnswerLikelihood: ...

    def resolve_settings(self) -> dict[str, Any]: ...


def make_contents(module: Trained) -> dict[str, Any]:
    """Returns the checkpoint's entry `KEY`: what later commands and a resumed fit need. Every rank must call it."""
    data: Any = module.trainer.datamodule
    return {
        "format": FORMAT if module.adapter_origin is None else ADAPTER_FORMAT,
        "network": describe_network(module.network),
        "tokenizer": store_tokenizer(data.prepared.tokenizer),
        "system_prompt": data.prompt.system,
        "prompt": data.prompt.to_json(),
        "max_length": data.recipe.max_length,
        "settings": json.dumps(module.resolve_settings()),
        "precision": str(module.trainer.precision),  # the one that ran: `16-mixed` becomes another on a CPU
        "data": json.dumps({"fingerprint": data.prepared.fingerprint, **data.prepared.report}),
        "metrics": json.dumps(module.results),
        "measured_at": module.measured_at,
        "identity": make_identity(module),
        "finished": find_end(module.trainer),
        "epochs": count_epochs(module.trainer),
        "stopping": is_stopped_early(module.trainer) and not may_stop(module.trainer),
        "monitored": json.dumps({name: float(value) for name, value in module.trainer.callback_metrics.items()}),
        "train": module.get_likelihood("train").get_sums(),
        "numbers": module.loss_monitor.get_state(),
        "trained_on": torch.from_numpy(data.store("train").question_keys.view(np.int64)),
        **({"adapter": module.adapter_origin.to_json()} if module.adapter_origin else {}),
    }


def make_identity(module: Trained) -> dict[str, str]:
    """Returns what must stay the same when a run resumes: with another of them it would be another run."""
    data: Any = module.trainer.datamodule
    fields, origin = module.hparams["from_scratch"], module.adapter_origin
    base = json.dumps(fields, sort_keys=True) if fields else str(module.hparams["base"])
    trained = {name: module.hparams[name] for name in ("freeze", "base_dtype") if module.hparams[name]}
    if origin:
        trained["lora"] = origin.lora
    return {
        "seed": str(module.seed),
        "tokenizer": sha256(store_tokenizer(data.prepared.tokenizer).encode()).hexdigest()[:16],
        "system prompt": data.prompt.system,
        "prompt format": data.prompt.format,
        "prompt": data.prompt.to_json(),
        "data": str(data.prepared.fingerprint),
        "tokens of an optimizer step": data.describe_step(),
        "base": origin.digest if origin else base,  # an adapter's may lie elsewhere now
        "trained weights": json.dumps(trained, sort_keys=True),
    }


def restore_run(module: Trained, checkpoint: dict[str, Any]) -> None:
    """Restores what a resumed fit must know.

    Raises:
        InputError: The checkpoint is of another run.
    """
    data: Any = module.trainer.datamodule
    contents = checkpoint[KEY]
    data.load_state_dict(checkpoint.get(type(data).__qualname__, {}))  # settles `auto` before it is compared
    there = {"trained weights": "{}", **contents.get("identity", {})}  # earlier releases trained all
    details, parts = {}, json.loads(contents["data"]).get("parts")  # earlier releases kept none
    if parts is not None:
        today = KeyParts.from_dict(data.prepared.report["parts"])
        details["data"] = str(KeyParts.from_dict(parts).compare(today))
    check_identity(there, make_identity(module), module.resume_anyway, details)
    if module.trainer.is_global_zero and "train" in contents:
        module.get_likelihood("train").restore_sums(contents["train"])
    if "numbers" in contents:
        module.loss_monitor.restore(contents["numbers"])
    module.results.update(json.loads(contents["metrics"]))
    module.monitored = json.loads(contents.get("monitored", "{}"))
    module.was_stopping = bool(contents.get("stopping"))
    refresh_callbacks(module.trainer, checkpoint.get("callbacks", {}))
    module.measured_at = int(contents["measured_at"])


def check_evaluation(trainer: Trainer, contents: dict[str, Any]) -> None:
    """Checks that a checkpoint may be evaluated on the trainer's data, and leaves out rows that it was trained on.

    Raises:
        InputError: Prompt or tokenizer are not those that it was trained with.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    check_same("tokenizer", contents["tokenizer"] == store_tokenizer(data.prepared.tokenizer))
    check_same("system prompt", contents["system_prompt"] == data.prompt.system)
    check_same("prompt", read_prompt(contents) == data.prompt)
    if "trained_on" not in contents:
        return
    keys = contents["trained_on"].numpy().view(np.uint64)
    if not np.array_equal(np.sort(keys), np.sort(data.store("train").question_keys)):
        data.leave_out(keys, json.loads(contents["data"])["fingerprint"])
