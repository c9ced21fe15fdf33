"""Low-rank adapters in a network, made by peft: LoRA, rank-stabilized LoRA and DoRA."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lightning_med.utils.errors import InputError, check_range

_EXAMPLE = "For instance --model.lora '{r: 16, alpha: 32}'"
_OWN_BASE = "Name the base that it was made on, and its own settings: --config RUN/config.yaml"
_SHOWN = 8  # names of layers in a message
_PROBED = 8  # tokens that show which adapters take part


@dataclass(frozen=True)
class LoraSettings:
    """Settings of a low-rank adapter (Hu et al., 2021, arXiv:2106.09685), as `read` makes them.

    Attributes:
        r: Rank of the update of each matrix.
        alpha: The update is scaled by `alpha / r`; default twice the rank.
        dropout: Probability of dropout before the update.
        rslora: Scales by `alpha / sqrt(r)`, which keeps high ranks learning (Kalajdzievski, 2023, arXiv:2312.03732).
        dora: Learns each matrix's magnitude and direction apart (Liu et al., 2024, arXiv:2402.09353); slower.
        targets: Ends of the names of the layers that are adapted, for instance `[q_proj, v_proj]`; default: every
            linear layer but the output layer.
        embeddings: Also trains the embeddings in full, and with them a tied output layer.
        head: Also trains the output layer in full, and with it embeddings that are tied to it.
    """

    r: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    rslora: bool = False
    dora: bool = False
    targets: list[str] | None = None
    embeddings: bool = False
    head: bool = False

    @classmethod
    def read(cls, given: dict[str, Any]) -> LoraSettings:
        """Returns the settings of `--model.lora`.

        Raises:
            InputError: A name is unknown, or a value cannot be used.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(known)}."
                raise InputError(f"lora: there is no setting {name}.", hint)
        settings = cls(**given)
        for name, kind in _KINDS.items():
            value = getattr(settings, name)
            if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
                raise InputError(f"lora: {name} is {value!r}.", _EXAMPLE)
        check_range("lora: r", settings.r, 1)
        check_range("lora: dropout", settings.dropout, 0, 0.99)
        if settings.alpha is not None and settings.alpha <= 0:
            raise InputError(f"lora: alpha is {settings.alpha}.", "It must be above 0: it scales the update.")
        if settings.alpha is None:
            settings = replace(settings, alpha=2.0 * settings.r)
        if settings.targets == [] or not all(isinstance(name, str) for name in settings.targets or ()):
            raise InputError(f"lora: targets is {settings.targets}.", "A list of names, for instance [q_proj, v_proj].")
        return settings

    def make_config(self, targets: list[str], transposed: bool) -> LoraConfig:
        """Returns these settings as a configuration of peft.

        Args:
            targets: Ends of the names of the layers that are adapted.
            transposed: Whether the layers keep their weights as `[inputs, outputs]`, as GPT-2's do.
        """
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=self.r,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            target_modules=targets,
            fan_in_fan_out=transposed,
        )


_KINDS: dict[str, Any] = {
    "r": int,
    "alpha": (int, float),
    "dropout": (int, float),
    "targets": list,
    **dict.fromkeys(("rslora", "dora", "embeddings", "head"), bool),
}


def find_targets(network: PreTrainedModel, wanted: list[str] | None) -> list[nn.Module]:
    """Returns the linear layers that an adapter is put on.

    Args:
        network: It may be on the device `meta`.
        wanted: See `LoraSettings.targets`.

    Raises:
        InputError: A name matches no linear layer; the nearest names are given.
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, (nn.Linear, Conv1D))}
    head = network.get_output_embeddings()
    layers = {name: module for name, module in layers.items() if module is not head}
    if wanted is None:
        return list(layers.values())
    ends = sorted({name.rpartition(".")[2] for name in layers})
    for end in wanted:
        if any(_ends_with(name, end) for name, module in network.named_modules() if module is head):
            raise InputError(f"lora: {end} is the output layer.", "To train it in full: --model.lora.head true")
        if not any(_ends_with(name, end) for name in layers):
            near = difflib.get_close_matches(end, [*ends, *layers], n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(ends[:_SHOWN])}."
            raise InputError(f"lora: no linear layer of this {network.config.model_type} is called {end}.", hint)
    return [module for name, module in layers.items() if any(_ends_with(name, end) for end in wanted)]


def _name_targets(network: PreTrainedModel, targets: list[nn.Module]) -> list[str]:
    """Returns the ends of the layers' names, or their full names where other layers have the same ends."""
    chosen = {id(module) for module in targets}
    names = [name for name, module in network.named_modules() if id(module) in chosen]
    ends = sorted({name.rpartition(".")[2] for name in names})
    reached = [name for name, _ in network.named_modules() if any(_ends_with(name, end) for end in ends)]
    return ends if reached == names else names


def find_whole_layers(network: PreTrainedModel, settings: LoraSettings) -> list[nn.Module]:
    """Returns the layers that are trained in full beside an adapter: embeddings and output layer, where asked for."""
    chosen: list[Any] = [network.get_input_embeddings()] if settings.embeddings else []
    return chosen + ([network.get_output_embeddings()] if settings.head else [])


def _ends_with(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


class Adapter:
    """A low-rank adapter in a network, whose other weights are frozen; the network keeps its class and its names.

    Args:
        network: Changed in place; on the GPU if its weights are quantized.
        settings: Of the adapter.
        seed: Of the adapter's first weights; the global random state is not changed.

    Raises:
        InputError: A target matches nothing, or an adapter would take no part in the computation.
    """

    def __init__(self, network: PreTrainedModel, settings: LoraSettings, seed: int) -> None:
        targets = find_targets(network, settings.targets)
        names = _name_targets(network, targets)
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transposed layers, which are meant
            torch.manual_seed(seed)
            config = settings.make_config(names, any(isinstance(module, Conv1D) for module in targets))
            self._peft: PeftModel = get_peft_model(network, config)  # type: ignore[assignment]
        self.network = network
        self._layers = {name: m for name, m in network.named_modules() if isinstance(m, LoraLayer)}
        for layer in self._layers.values():
            # peft casts inputs to float32, and autocast would cast them back: a copy for each layer, kept for backward.
            layer.cast_input_dtype_enabled = False
        whole = find_whole_layers(network, settings)
        ids = {id(weight) for layer in whole for weight in layer.requires_grad_(True).parameters()}
        self._whole = [name for name, weight in network.named_parameters() if id(weight) in ids]
        self._before: dict[str, Tensor] = {}  # weights that are trained in full, before any training
        self._check_effect()

    @torch.enable_grad()
    def _check_effect(self) -> None:
        """Refuses layers whose weights the network reads without calling them: their adapters would learn nothing."""
        training = self.network.training
        ids = torch.arange(_PROBED, device=self.network.device)[None] % self.network.config.get_text_config().vocab_size
        with torch.inference_mode(False), torch.autocast(self.network.device.type, torch.bfloat16):
            self.network.eval()
            hidden = self.network.base_model(input_ids=ids, use_cache=False).last_hidden_state
            hidden.float().sum().backward()
            self.network.train(training)
        reached: dict[str, bool] = {}
        for name, layer in self._layers.items():
            gradients = [weight.grad is not None for weight in layer.lora_B.parameters()]
            end = name.rpartition(".")[2]  # experts that no token was sent to are reached in another block
            reached[end] = reached.get(end, False) or any(gradients)
        self.network.zero_grad(set_to_none=True)
        if idle := [end for end, is_reached in reached.items() if not is_reached]:
            rest = sorted(set(reached) - set(idle))
            raise InputError(
                f"lora: this {self.network.config.model_type} does not call its layers {', '.join(idle[:_SHOWN])}:"
                " an adapter on them would learn nothing.",
                f"Name others: --model.lora.targets '[{', '.join(rest[:_SHOWN])}]'",
            )

    @property
    def names(self) -> list[str]:
        """Names of the weights that are trained: the adapter's, and embeddings and output layer where asked for."""
        return [name for name, weight in self.network.named_parameters() if weight.requires_grad]

    def get_state(self) -> dict[str, Tensor]:
        """Returns the trained weights by name; they share memory with the network's."""
        trained = dict(self.network.named_parameters())
        return {name: trained[name].detach() for name in self.names}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copies trained weights into the network.

        Raises:
            InputError: A name or a shape is not that of this adapter.
        """
        ours = self.get_state()
        for name in sorted(ours.keys() ^ state.keys()):
            raise InputError(f"The adapter is of another model: {name} is in one only.", _OWN_BASE)
        for name, weight in ours.items():
            if weight.shape != state[name].shape:
                shapes = f"{list(state[name].shape)} there and {list(weight.shape)} here"
                raise InputError(f"The adapter is of another model: {name} is {shapes}.", _OWN_BASE)
            weight.copy_(state[name])

    def keep_untrained(self) -> None:
        """Keeps a copy of what is trained in full, for `disable`; call it before weights are loaded."""
        weights = dict(self.network.named_parameters())
        self._before = {name: weights[name].detach().clone() for name in self._whole}

    @contextmanager
    def disable(self) -> Iterator[None]:
        """Runs the network as it was before it was adapted, without a second copy of it."""
        weights = dict(self.network.named_parameters())
        trained = {name: weights[name].data for name in self._before}
        for name, value in self._before.items():
            weights[name].data = value.to(trained[name].device)
        for layer in self._layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(True)
            for name, value in trained.items():
                weights[name].data = value

    def merge(self) -> PreTrainedModel:
        """Adds the adapter to the weights of its layers and removes it; returns the plain network."""
        merged: Any = self._peft.merge_and_unload()
        return merged  # type: ignore[no-any-return]

    def save(self, folder: str, base: str) -> None:
        """Writes the adapter as a folder that `peft.PeftModel.from_pretrained` loads on its base.

        Args:
            folder: It must exist.
            base: Name or folder of the base, which the adapter's configuration names.
        """
        self._peft.peft_config["default"].base_model_name_or_path = base
        self._peft.save_pretrained(folder, save_embedding_layers=bool(self._whole))
