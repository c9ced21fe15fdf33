"""DialogueLM: a causal language model fine-tuned on the answers of consultations."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from lightning_med.checkpoints.reading import KEY, check_shapes
from lightning_med.inference.decoding import Decoding
from lightning_med.model.adaptation import Adaptation
from lightning_med.model.causal_lm import build_from_text
from lightning_med.training.adapted_module import AdaptedModule
from lightning_med.training.batch_size import measure_budget
from lightning_med.training.callbacks.optimizer_state import OptimizerState
from lightning_med.training.callbacks.steady_memory import SteadyMemory
from lightning_med.training.checkpoint_contents import check_evaluation, make_contents, restore_run
from lightning_med.training.fit_loop.loop_rules import LoopRules, prepare_callbacks
from lightning_med.training.network_setup import finish_network, restore_network, start_network
from lightning_med.training.optimization import optimizer as optim
from lightning_med.training.optimization.other_optimizers import require_one_optimizer
from lightning_med.training.patches.command import find_trainer
from lightning_med.training.register.checks import check_trainer
from lightning_med.training.register.monitors import check_monitors, has_code_of_others
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.utils.argument_types import check_types
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, UnavailableError, check_range

_RANGES = {  # least and greatest value
    "question_weight": (0, 1),
    "warmup_fraction": (0, 1),
    "attention_dropout": (0, 1),
    "weight_decay": (0,),
    "lr": (0,),
}


class DialogueLM(AdaptedModule):
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
        lora: Trains a low-rank adapter and not the base: `{r: 16, alpha: 32}`; also `dropout`, `rslora`, `dora`,
            `targets`, `embeddings`, `head` (docs/adapters.md). Checkpoints then hold the adapter alone.
        freeze: Patterns of the names of weights that are not trained, for instance `['*.layers.0.*', '*embed*']`.
        base_dtype: In which weights that are not trained are kept: `bf16`, or `nf4` on a GPU (QLoRA); default: float32.
        gradient_checkpointing: Compute activations again in the backward pass: less memory, about a third more time.
        compile: Compile the network with torch.compile, once for all lengths of batches; a minute at the start of each
            command, which long runs on a GPU may win back.
        max_new_tokens: Longest answer, in tokens.
        temperature: 0 for the likeliest token at each place, above 0 to sample.
        top_p: When sampling: among the likeliest tokens that together have this probability.
        no_repeat_ngram_size: No sequence of so many tokens occurs twice in an answer; 0 for off.
        min_p: When sampling: among the tokens with at least this share of the likeliest one's probability; 0 for off.
        repetition_penalty: From 1, which is off, to 2: makes words less likely that the answer already has.
        sampling_seed: Of sampled answers, which repeat with it.
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
        lora: dict[str, Any] | None = None,
        freeze: list[str] | None = None,
        base_dtype: str | None = None,
        gradient_checkpointing: bool = False,
        compile: bool = False,
        max_new_tokens: int = 320,
        temperature: float = 0.7,
        top_p: float = 1.0,
        no_repeat_ngram_size: int = 4,
        min_p: float = 0.1,
        repetition_penalty: float = 1.1,
        sampling_seed: int = 0,
    ) -> None:
        check_types(DialogueLM, locals())
        adaptation = Adaptation.read(
            {"lora": lora, "freeze": freeze, "base_dtype": base_dtype, "from_scratch": from_scratch}
            | {"gradient_checkpointing": gradient_checkpointing}
        )
        decoding = (max_new_tokens, temperature, top_p, no_repeat_ngram_size, min_p, repetition_penalty, sampling_seed)
        super().__init__(Decoding(*decoding), adaptation)
        if not base and not from_scratch:
            raise InputError("No model is named.", "Give --model.base NAME or --model.from_scratch '{n_layer: 2, …}'.")
        self.save_hyperparameters(logger=False)
        for name, bounds in _RANGES.items():
            check_range(name, self.hparams[name], *bounds)
        self.resume_anyway = False
        self._settings: dict[str, Any] = {}
        self._checkpoint: str | None = None
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

    def configure_model(self) -> None:
        if find_trainer(self) is None:
            return  # a checkpoint's own description builds the network
        step_size = getattr(self._data, "step_size", None)  # other data modules and plain loaders have none
        if step_size is not None:
            step_size.use_measurement(self._measure_batch_tokens)
        if self.is_prepared:
            return
        if self.model is None:
            self._build_network()
        if step_size is not None:
            strategy = self.trainer.strategy
            mesh = strategy.device_mesh["data_parallel"] if isinstance(strategy, ShardedStrategy) else None
            finish_network(self.network, mesh, self._data.longest, self._data.padded is not None)
        self.adapt_network()
        if self.hparams["compile"]:  # for all lengths of batches; the names of the weights stay
            self.network.base_model.compile(dynamic=True)

    def _build_network(self) -> None:
        # What is to be kept in a smaller dtype is loaded into the host's memory: a GPU would have to hold it all.
        place = torch.device("cpu") if self.adaptation.base_dtype else nullcontext()
        try:
            added = self._data.hparams.get("add_tokens") or ()
            with place:
                self.model = start_network(dict(self.hparams), self._data.prepared.tokenizer, self.seed, added)
            self._is_untuned = True
        except UnavailableError:  # any other error of the base is the user's to fix
            if self._checkpoint is None or self.adaptation.lora:
                raise
            self.model = restore_network(self._checkpoint)

    def _measure_batch_tokens(self) -> int:
        """Returns the tokens of a training batch that fit here, in the trainer's precision; the same on every rank."""
        plugin, device = self.trainer.precision_plugin, self.trainer.strategy.root_device
        budget = measure_budget(self.network, device, plugin.forward_context, self._data.recipe.max_length)
        tokens = int(self.trainer.strategy.broadcast(budget.tokens))
        say(f"batch_tokens auto: {budget}.", self.trainer)
        return tokens

    def configure_callbacks(self) -> list[Callback]:
        trainer: Any = self.trainer
        self._check_data()
        if trainer.state.fn == "fit":
            check_trainer(trainer, self.adaptation.lora is not None)
            check_monitors(trainer, logs_more=has_code_of_others(self, trainer))
            prepare_callbacks(trainer)
        return [OptimizerState(), SteadyMemory(), LoopRules()]

    def _check_data(self) -> None:
        """Refuses other data than ours, but for the evaluation of a model that is loaded already."""
        if not hasattr(self._data, "step_size") and (self.model is None or self.trainer.state.fn in ("fit", "predict")):
            given = "none" if self._data is None else type(self._data).__name__
            raise InputError(
                f"The trainer has no DialogueDataModule (data module: {given}), which tokenizes and plans the batches.",
                "trainer.fit(model, DialogueDataModule(FILE)); a loaded model can be evaluated on plain data loaders.",
            )

    def configure_optimizers(self) -> Any:
        total, share = self.total_steps, self.hparams["warmup_fraction"]
        if total is not None and self.trainer.ckpt_path is None:
            total -= self.trainer.global_step  # of an earlier fit of this trainer
        if total is None:
            warmup = round(self._data.count_steps(0) * share)
            say(f"No number of epochs or steps ends this fit: the rate stays at its peak from step {warmup}.")
            factor = optim.make_warmup_constant(warmup)
        else:
            factor = optim.make_warmup_cosine(total, share)
        lr, decay = self.hparams["lr"], self.hparams["weight_decay"]
        self.own_optimizer = own = optim.OwnOptimizer.make(self.network, factor, lr, decay)
        return {"optimizer": own.optimizer, "lr_scheduler": {"scheduler": own.schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss_monitor.check_pending(getattr(self.trainer.precision_plugin, "scaler", None) is not None)
        checkpoint[KEY] = make_contents(self)
        checkpoint["state_dict"] = self.select_saved(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        contents = checkpoint.get(KEY)
        if contents is None:
            raise InputError("This checkpoint is not one of lightning-med.", "Give one of RUN/checkpoints.")
        self.check_kind(contents.get("adapter"))
        if self.model is None and self.adaptation.lora:
            self.restore_adapter(contents, checkpoint["state_dict"])
        elif self.model is None:
            self.model = build_from_text(contents["network"])
        elif "state_dict" in checkpoint:  # of sharded weights the strategy has loaded them already
            check_shapes(self.select_saved(self.state_dict()), checkpoint["state_dict"])
        trainer = find_trainer(self)
        if trainer is None:
            return
        if trainer.state.fn == "fit":
            restore_run(self, checkpoint)
            return
        if self._is_untuned and trainer.state.fn == "test" and not isinstance(trainer.strategy, ShardedStrategy):
            self.keep_untuned()
        check_evaluation(trainer, contents)
