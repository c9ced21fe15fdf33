"""A network of which a part is trained: its adapter, what its checkpoints hold, and the comparison with its base."""

from __future__ import annotations

import copy
from typing import Any

from transformers import PreTrainedModel

from lightning_med.checkpoints.reading import NETWORK, OWN_SETTINGS, select_network
from lightning_med.inference.decoding import Decoding
from lightning_med.model.adaptation import Adaptation, AdapterOrigin
from lightning_med.model.adapter import Adapter
from lightning_med.training.base_checks import check_trainer
from lightning_med.training.batch_size import count_trained
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.training.trained_module import TrainedModule
from lightning_med.utils.errors import InputError


class AdaptedModule(TrainedModule):
    """Holds the network and what of it is trained.

    Args:
        decoding: How `predict` chooses an answer's tokens.
        adaptation: What is trained.

    Attributes:
        model: The network, once it is built.
        adapter: In the network, if it has one.
        adapter_origin: The base that the adapter was made on.
        is_prepared: The network is adapted as the settings say.
    """

    def __init__(self, decoding: Decoding, adaptation: Adaptation) -> None:
        super().__init__(decoding)
        self.model: PreTrainedModel | None = None  # the name is part of its weights' names in checkpoints
        self.adaptation = adaptation
        self.adapter: Adapter | None = None
        self.adapter_origin: AdapterOrigin | None = None
        self.is_prepared = False
        self.strict_loading = adaptation.lora is None  # checkpoints of an adapter run lack the base

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model.

        Raises:
            RuntimeError: No trainer and no checkpoint has built it yet.
        """
        if self.model is None:
            raise RuntimeError("The network is built by a trainer or by DialogueLM.load_from_checkpoint.")
        return self.model

    def adapt_network(self) -> None:
        """Freezes weights and adds an adapter, as the settings say."""
        sharded = isinstance(self.trainer.strategy, ShardedStrategy)
        check_trainer(self.adaptation, sharded, str(self.trainer.precision))
        self.adaptation.check(self.network, getattr(self._data, "hparams", {}).get("add_tokens") or ())
        self.adapter = self.adaptation.apply(self.network, self.seed, self.trainer.strategy.root_device, self.adapter)
        self.is_prepared = True
        if self.adapter is not None and self.adapter_origin is None:
            self.adapter_origin = AdapterOrigin.make(self.hparams["base"], self.adaptation)

    def select_saved(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the part of a state that checkpoints hold: of an adapter run, all but the base."""
        if self.adapter is None:
            return state
        names = {NETWORK + name for name in self.adapter.names}
        return {name: value for name, value in state.items() if name in names or not name.startswith(NETWORK)}

    def check_kind(self, origin: str | None) -> None:
        """Refuses an adapter where the settings name none, whole weights where they name one, and another base."""
        if (origin is None) == bool(self.adaptation.lora):
            held = (
                "whole weights, and the settings name lora" if origin is None else "an adapter, and they name no lora"
            )
            raise InputError(f"The checkpoint holds {held}.", OWN_SETTINGS)
        if origin is None:
            return
        there = AdapterOrigin.from_json(origin)
        there.check_adaptation(self.adaptation)
        if self.adapter_origin is not None:
            there.check_base(self.hparams["base"], self.adapter_origin.digest)

    def restore_adapter(self, contents: dict[str, Any], state: dict[str, Any]) -> None:
        """Loads the base of a checkpoint that is read without a trainer, and puts its adapter on it."""
        self.adapter_origin = AdapterOrigin.from_json(contents["adapter"])
        trained = select_network(state)
        self.adapter = self.adapter_origin.restore(contents["network"], trained, self.hparams["base"])
        self.model = self.adapter.network
        state |= {name: value for name, value in self.state_dict().items() if name not in state}

    def keep_untuned(self) -> None:
        """Keeps the network as it is before any weights are loaded; of an adapter run without a copy of it."""
        if self.adapter is None:
            self._untuned = [copy.deepcopy(self.network).eval()]
            return
        self.adapter.keep_untrained()
        self._untuned, self._become_untuned = [self.network], self.adapter.disable

    def count_weights(self) -> tuple[int, int]:
        """Returns how many weights the network has, and how many of them are trained."""
        return sum(weight.numel() for weight in self.network.parameters()), count_trained(self.network)
