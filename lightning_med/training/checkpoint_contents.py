"""What a checkpoint holds beside weights, and whether it may be gone on with or evaluated under the settings of now."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lightning_med.checkpoints.reading import FORMAT, KEY, check_identity, check_same
from lightning_med.model.causal_lm import describe_network
from lightning_med.tokenization.tokenizer import store_tokenizer
from lightning_med.training.lightning_patches import is_fit_done

if TYPE_CHECKING:
    from lightning_med.training.module import DialogueLM


def make_contents(module: DialogueLM) -> dict[str, Any]:
    """The entry `checkpoint.KEY`: what a later call needs, and what a resumed fit must know. Every rank must ask."""
    data: Any = module.trainer.datamodule  # type: ignore[attr-defined]
    settings = module.settings or {"model": dict(module.hparams), "data": dict(data.hparams)}
    return {
        "format": FORMAT,
        "network": describe_network(module.network),
        "tokenizer": store_tokenizer(data.prepared.tokenizer),
        "system_prompt": data.prompt.system,
        "max_length": data.recipe.max_length,
        "settings": json.dumps(settings),
        "data": json.dumps({"fingerprint": data.prepared.fingerprint, **data.prepared.report}),
        "metrics": json.dumps(module.results),
        "measured_at": module.measured_at,
        "identity": make_identity(module),
        "finished": is_fit_done(module.trainer),
        "train": module.likelihood["train"].sums(),
        "numbers": module.numbers.state(),
        "trained_on": torch.from_numpy(data.store("train").question_keys.view(np.int64)),
    }


def make_identity(module: DialogueLM) -> dict[str, str]:
    """What makes a run this run: going on with another of them would be another run, under the same name."""
    data: Any = module.trainer.datamodule  # type: ignore[attr-defined]
    fields = module.hparams["from_scratch"]
    return {
        "seed": str(module.seed),
        "tokenizer": sha256(store_tokenizer(data.prepared.tokenizer).encode()).hexdigest()[:16],
        "system prompt": data.prompt.system,
        "data": str(data.prepared.fingerprint),
        "tokens of an optimizer step": str(data.step_tokens),
        "base": json.dumps(fields, sort_keys=True) if fields else str(module.hparams["base"]),
    }


def restore_run(module: DialogueLM, checkpoint: dict[str, Any]) -> None:
    """Takes up a fit where a checkpoint of it stood.

    Raises:
        InputError: It is of another run.
    """
    data: Any = module.trainer.datamodule  # type: ignore[attr-defined]
    known = checkpoint[KEY]
    data.load_state_dict(checkpoint.get(type(data).__qualname__, {}))  # what `auto` was, before it is compared
    check_identity(known.get("identity", {}), make_identity(module), module.resume_anyway)
    if module.trainer.is_global_zero and "train" in known:
        module.likelihood["train"].restore(known["train"])
    if "numbers" in known:
        module.numbers.restore(known["numbers"])


def check_evaluation(module: DialogueLM, known: dict[str, Any]) -> None:
    """Looks whether a model may be evaluated on the data of now; what it was trained on is left out there.

    Raises:
        InputError: Prompt or tokenizer are not those that it was trained with.
    """
    data: Any = module.trainer.datamodule  # type: ignore[attr-defined]
    check_same("tokenizer", known["tokenizer"] == store_tokenizer(data.prepared.tokenizer))
    check_same("system prompt", known["system_prompt"] == data.prompt.system)
    if "trained_on" not in known:
        return
    keys = known["trained_on"].numpy().view(np.uint64)
    if not np.array_equal(np.sort(keys), np.sort(data.store("train").question_keys)):
        data.leave_out(keys, json.loads(known["data"])["fingerprint"])
