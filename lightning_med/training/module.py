"""DialogueLM: a causal language model fine-tuned on the answers of consultations."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from transformers import PreTrainedModel

from lightning_med.checkpoints.reading import KEY, check_shapes
from lightning_med.inference.generation import Decoding
from lightning_med.model.causal_lm import build_from_text, compute_nll
from lightning_med.training import optimizer as optim
from lightning_med.training.batch_size import measure_budget
from lightning_med.training.callbacks.optimizer_state import OptimizerState
from lightning_med.training.callbacks.steady_memory import SteadyMemory
from lightning_med.training.checkpoint_contents import check_evaluation, make_contents, restore_run
from lightning_med.training.evaluated_module import EvaluatedModule
from lightning_med.training.lightning_patches import find_trainer
from lightning_med.training.loss_monitor import LossMonitor, describe_rows
from lightning_med.training.network_setup import finish_network, restore_network, start_network
from lightning_med.training.other_optimizers import require_one_optimizer
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, UnavailableError, check_range

_RANGES = {  # least and greatest value
    "question_weight": (0, 1),
    "warmup_fraction": (0, 1),
    "attention_dropout": (0, 1),
    "weight_decay": (0,),
    "lr": (0,),
}


class DialogueLM(EvaluatedModule):
    """Fine-tunes any causal model of transformers on the answers of consultations.

    The loss is the mean over the answers' tokens of an optimizer step, across its batches and ranks. Metrics are over
    the answers' tokens only, their ends included.

    Args:
        base: A name on the Hub or a folder. Ignored where `from_scratch` is given.
        from_scratch: Fields of GPT2Config, or with `model_type` of another decoder's configuration in transformers, for
            instance `{model_type: llama, hidden_size: 256, …}`; no weights are loaded then.
        lr: Peak learning rate.
        weight_decay: Of the matrices; norms and biases have none.
        warmup_fraction: Share of the steps in which the rate rises, before it falls in a half cosine to zero.
        question_weight: Weight of the questions' tokens in the loss; 0 skips their logits, 1 learns them as answers.
        attention_dropout: Dropout on attention weights; above 0 it costs speed. Other dropout is the base's own.
        compile: Compile the network with torch.compile, once for all lengths of batches; a minute at the start of each
            command, which long runs on a GPU may win back.
        max_new_tokens: Longest answer, in tokens.
        temperature: 0 for the likeliest token at each place, above 0 to sample.
        top_p: When sampling: among the likeliest tokens that together have this probability.
        no_repeat_ngram_size: No sequence of so many tokens occurs twice in an answer; 0 for off.
    """

    def __init__(
        self,
        base: str | None = "distilgpt2",
        from_scratch: dict[str, Any] | None = None,
        lr: float = 5e-4,
        weight_decay: float = 0.01,
        warmup_fraction: float = 0.05,
        question_weight: float = 0.0,
        attention_dropout: float = 0.0,
        compile: bool = False,
        max_new_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 0.9,
        no_repeat_ngram_size: int = 6,
    ) -> None:
        super().__init__(Decoding(max_new_tokens, temperature, top_p, no_repeat_ngram_size))
        if not base and not from_scratch:
            raise InputError("No model is named.", "Give --model.base NAME or --model.from_scratch '{n_layer: 2, …}'.")
        self.save_hyperparameters(logger=False)
        for name, bounds in _RANGES.items():
            check_range(name, self.hparams[name], *bounds)
        self.model: PreTrainedModel | None = None  # the name is part of its weights' names in checkpoints
        self.loss_monitor = LossMonitor(self._describe_rows)
        self.resume_anyway = False
        self._settings: dict[str, Any] = {}
        self._checkpoint: str | None = None
        self._is_untuned = False  # the network is as it was before any fine-tuning
        self._gradient_norm: Tensor | None = None
        self.own_optimizer: optim.OwnOptimizer | None = None  # where `configure_optimizers` is not overridden

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.configure_optimizers = require_one_optimizer(cls.configure_optimizers)  # type: ignore[method-assign]

    def use_run(self, settings: dict[str, Any], checkpoint: str | None, resume_anyway: bool = False) -> None:
        """Sets what a command knows of the run.

        Args:
            settings: Kept in each checkpoint.
            checkpoint: The one to be loaded; it describes the network if the base cannot be loaded.
            resume_anyway: Resume although the checkpoint has other settings.
        """
        self._settings, self._checkpoint, self.resume_anyway = settings, checkpoint, resume_anyway

    def resolve_settings(self) -> dict[str, Any]:
        """Returns the settings of the run, with what `auto` turned out to be."""
        settings = self._settings or {"model": dict(self.hparams), "data": dict(self._data.hparams)}
        data = settings.get("data", {})
        if "batch_tokens" in data and not self._data.step_size.is_auto:
            data = {**data, "batch_tokens": self._data.batch_tokens}
        return {**settings, "data": data}

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model.

        Raises:
            RuntimeError: No trainer and no checkpoint has built it yet.
        """
        if self.model is None:
            raise RuntimeError("The network is built by a trainer or by DialogueLM.load_from_checkpoint.")
        return self.model

    @property
    def seed(self) -> int:
        """Of the weights and of dropout."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    def configure_model(self) -> None:
        if find_trainer(self) is None:
            return  # a checkpoint's own description builds the network
        if step_size := getattr(self._data, "step_size", None):  # other data modules and plain loaders have none
            step_size.use_measurement(self._measure_batch_tokens)
        if self.model is not None:
            return
        try:
            added = self._data.hparams.get("add_tokens") or ()
            self.model = start_network(dict(self.hparams), self._data.prepared.tokenizer, self.seed, added)
            self._is_untuned = True
        except UnavailableError:  # any other error of the base is the user's to fix
            if self._checkpoint is None:
                raise
            self.model = restore_network(self._checkpoint)
        strategy = self.trainer.strategy
        mesh = strategy.device_mesh["data_parallel"] if isinstance(strategy, ShardedStrategy) else None
        finish_network(self.model, mesh, self.hparams["compile"], self._data.longest, self._data.padded is not None)

    def _describe_rows(self, rows: list[int]) -> str:
        return describe_rows(self._data.store("train"), rows)

    def _measure_batch_tokens(self) -> int:
        """Returns the tokens of a training batch that fit here, in the trainer's precision; the same on every rank."""
        plugin, device = self.trainer.precision_plugin, self.trainer.strategy.root_device
        budget = measure_budget(self.network, device, plugin.forward_context, self._data.recipe.max_length)
        tokens = int(self.trainer.strategy.broadcast(budget.tokens))
        say(f"batch_tokens auto: {budget}.", self.trainer)
        return tokens

    def configure_callbacks(self) -> list[Callback]:
        return [OptimizerState(), SteadyMemory()]

    def configure_optimizers(self) -> Any:
        values = (self.hparams[name] for name in ("lr", "weight_decay", "warmup_fraction"))
        self.own_optimizer = own = optim.OwnOptimizer.make(self.network, self.total_steps, *values)
        return {"optimizer": own.optimizer, "lr_scheduler": {"scheduler": own.schedule, "interval": "step"}}

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole fit."""
        batches = len(self._data.plan_epoch(0)) // self._data.ranks
        return optim.count_steps(self.trainer, batches, self._data.window)

    def on_train_start(self) -> None:
        optim.align_validation(self.trainer)  # an epoch that is resumed in its middle has no start

    def on_train_epoch_start(self) -> None:
        optim.align_validation(self.trainer)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        # Dropout is a function of the batch's position, not of what ran before it: a resumed fit draws the same.
        position = [self.seed, self.trainer.current_epoch, batch_idx, self.trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        weight = float(self.hparams["question_weight"])
        total, nll = compute_nll(self.network, batch, weight)
        self.get_likelihood("train").update(nll.detach(), batch["answer_bytes"])
        share = total / (batch["window_answers"] + weight * batch["window_questions"])
        self.loss_monitor.add_batch(share, batch["rows"], batch["input_ids"].numel())
        # The trainer divides by the number of batches and ranks in a step; the step's mean divides by its tokens.
        return share * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        scaled = optim.unscale_gradients(self.trainer, optimizer)
        self._gradient_norm = optim.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        self.loss_monitor.check_step(self.trainer.global_step + 1, self._gradient_norm, scaled)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        # A logged point is a mean over all tokens since the last one. Only here a step waits for a number.
        every = max(int(getattr(self.trainer, "log_every_n_steps", 1)), 1)
        if not optim.is_step_end(self.trainer, batch_idx) or self.trainer.global_step % every:
            return
        values = self.get_likelihood("train").compute()
        self.get_likelihood("train").reset()
        monitor = self.loss_monitor
        if monitor.detect_spike(values["loss"]):
            say(f"Step {self.trainer.global_step}: the loss rose to {values['loss']:.3f}.", self.trainer)
        self.log_dict({"train/spikes": float(monitor.spikes), "train/skipped": float(monitor.skipped)})
        norm = {} if self._gradient_norm is None else {"train/gradient_norm": self._gradient_norm}
        self.log_dict({"train/bits_per_byte": values["bits_per_byte"], "train/tokens": float(values["tokens"]), **norm})
        self.log_dict({f"train/{name}": values[name] for name in ("loss", "perplexity")}, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss_monitor.check_pending(getattr(self.trainer.precision_plugin, "scaler", None) is not None)
        checkpoint[KEY] = make_contents(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        contents = checkpoint.get(KEY)
        if contents is None:
            raise InputError("This checkpoint is not one of lightning-med.", "Give one of RUN/checkpoints.")
        if self.model is None:
            self.model = build_from_text(contents["network"])
        elif "state_dict" in checkpoint:  # of sharded weights the strategy has loaded them already
            check_shapes(self.state_dict(), checkpoint["state_dict"])
        trainer = find_trainer(self)
        if trainer is None:
            return
        if trainer.state.fn == "fit":
            restore_run(self, checkpoint)
            return
        if self._is_untuned and trainer.state.fn == "test" and not isinstance(trainer.strategy, ShardedStrategy):
            self._untuned = [copy.deepcopy(self.model).eval()]
        check_evaluation(trainer, contents)
