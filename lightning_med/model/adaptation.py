"""What of a base is trained and how: adapters, frozen weights, their dtype, gradient checkpointing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lightning_med.checkpoints.reading import OWN_SETTINGS
from lightning_med.model.adapter import Adapter, LoraSettings, find_targets, find_whole_layers
from lightning_med.model.causal_lm import load_base, open_base
from lightning_med.model.frozen_weights import DTYPES, check_machine, freeze_weights, round_frozen, store_frozen
from lightning_med.model.weight_files import compute_digest
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, UnavailableError

_NAME_BASE = "Name the folder that holds it: --model.base DIR; for export --base DIR"


@dataclass(frozen=True)
class Adaptation:
    """What of a network is trained, and what training keeps in memory.

    Attributes:
        lora: See `LoraSettings`; `None` for no adapter.
        freeze: Patterns of the names of weights that are not trained.
        base_dtype: Of weights that are not trained; `None` for float32. See `store_frozen`.
        gradient_checkpointing: Keeps each block's input only, and computes the block again in the backward pass (Chen
            et al., 2016, arXiv:1604.06174): less memory, a third more time.
    """

    lora: LoraSettings | None = None
    freeze: tuple[str, ...] = ()
    base_dtype: str | None = None
    gradient_checkpointing: bool = False

    @classmethod
    def read(cls, settings: dict[str, Any]) -> Adaptation:
        """Returns those of the hyperparameters of `DialogueLM`.

        Raises:
            InputError: Two of them contradict each other, or one cannot be used.
        """
        given, freeze, dtype = (settings.get(name) for name in ("lora", "freeze", "base_dtype"))
        lora = None if given is None else LoraSettings.read(given)
        if lora and settings.get("from_scratch"):
            raise InputError("lora needs a base: weights made at random have to be trained.", "Leave one of both out.")
        if lora and freeze:
            raise InputError("lora freezes the whole base, so freeze has no effect.", "Leave one of both out.")
        if dtype is not None:
            if dtype not in DTYPES:
                hint = f"It is {', or '.join(DTYPES)} with CUDA; leave it out for float32."
                raise InputError(f"base_dtype is {dtype!r}.", hint)
            if not (lora or freeze):
                raise InputError(
                    f"base_dtype {dtype} is that of weights that are not trained, and all are.",
                    "Give --model.lora '{r: 16, alpha: 32}' or --model.freeze too, or leave it out.",
                )
            if dtype == "nf4" and not lora:
                raise InputError("base_dtype nf4 needs an adapter.", "Give --model.lora '{r: 16, alpha: 32}' too.")
        return cls(lora, tuple(freeze or ()), dtype, bool(settings.get("gradient_checkpointing")))

    def check(self, network: PreTrainedModel, added: Sequence[str] = ()) -> None:
        """Checks that a network can be trained so, without computing anything.

        Args:
            network: It may be on the device `meta`; weights are marked as frozen.
            added: Tokens that were added to the base's.

        Raises:
            InputError: A name matches nothing, or the network lacks something.
        """
        if self.lora:
            find_targets(network, self.lora.targets)
        if self.freeze:
            freeze_weights(network, list(self.freeze))
        if added and not self._trains_embeddings(network):
            raise InputError(
                f"{len(added)} added tokens would keep the embeddings that they begin with, which are not trained.",
                "--model.lora '{embeddings: true, head: true}' trains them; or freeze other weights.",
            )
        if self.gradient_checkpointing and not network.supports_gradient_checkpointing:
            raise InputError(
                f"transformers has no gradient checkpointing for a {network.config.model_type}.",
                "Leave --model.gradient_checkpointing out; a smaller --data.batch_tokens needs less memory.",
            )

    def _trains_embeddings(self, network: PreTrainedModel) -> bool:
        layers: list[Any] = [network.get_input_embeddings(), network.get_output_embeddings()]
        weights = {id(layer.weight): layer.weight for layer in layers if layer is not None}
        if self.lora:
            whole: list[Any] = find_whole_layers(network, self.lora)
            return weights.keys() <= {id(layer.weight) for layer in whole}
        return all(weight.requires_grad for weight in weights.values())

    def apply(
        self, network: PreTrainedModel, seed: int, device: torch.device | None = None, adapter: Adapter | None = None
    ) -> Adapter | None:
        """Changes a network in place and returns its adapter, if it has one.

        Args:
            network: In float32.
            seed: Of the adapter's first weights.
            device: Of the training; default: the network's.
            adapter: That the network has already.

        Raises:
            InputError: The network or this machine cannot be trained so.
        """
        if self.lora and adapter is None:
            network.requires_grad_(False)
            for layer in find_whole_layers(network, self.lora):  # they are to stay in float32
                layer.requires_grad_(True)
        elif self.freeze:
            freeze_weights(network, list(self.freeze))
        if self.base_dtype:
            check_machine(self.base_dtype)
            store_frozen(network, self.base_dtype, device or network.device)
        if self.lora and adapter is None:
            adapter = Adapter(network, self.lora, seed)
        if self.gradient_checkpointing:
            enable_checkpointing(network)
        return adapter


def is_checkpointing(network: PreTrainedModel) -> bool:
    """Returns whether a network computes blocks again in the backward pass."""
    return any(getattr(module, "gradient_checkpointing", False) for module in network.modules())


def disable_checkpointing(network: PreTrainedModel) -> None:
    """Undoes `enable_checkpointing`."""
    disable: Any = getattr(network, "activation_checkpointing_disable", network.gradient_checkpointing_disable)
    disable()


def enable_checkpointing(network: PreTrainedModel) -> None:
    """Keeps each block's input only, and computes the block again in the backward pass, with the same dropout."""
    enable: Any = getattr(network, "activation_checkpointing_enable", network.gradient_checkpointing_enable)
    enable({"use_reentrant": False})  # older releases have the older name alone


@dataclass(frozen=True)
class AdapterOrigin:
    """What an adapter was made on, as its checkpoints name it; they do not hold the base.

    Attributes:
        base: Name on the Hub, or folder.
        digest: SHA-256 of the base's weights.
        lora: Settings of the adapter.
        base_dtype: In which the base was kept while the adapter was trained.
    """

    base: str
    digest: str
    lora: dict[str, Any]
    base_dtype: str | None = None

    @classmethod
    def make(cls, base: str, adaptation: Adaptation) -> AdapterOrigin:
        """Returns the origin of an adapter that is put on a base now; reads the base's weights once."""
        assert adaptation.lora is not None
        return cls(base, _compute_digest(base), asdict(adaptation.lora), adaptation.base_dtype)

    @classmethod
    def from_json(cls, text: str) -> AdapterOrigin:
        """Reads what `to_json` wrote.

        Raises:
            InputError: It is of another version.
        """
        try:
            origin = cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError("The checkpoint's adapter is described in another form.", "Update the package.") from error
        return origin

    def to_json(self) -> str:
        """Returns the fields as JSON."""
        return json.dumps(asdict(self))

    def check_adaptation(self, adaptation: Adaptation) -> None:
        """Checks that settings describe this adapter; the same weights under others would be another network.

        Raises:
            InputError: They do not.
        """
        assert adaptation.lora is not None
        there = {**asdict(LoraSettings.read(self.lora)), "base_dtype": self.base_dtype}
        here = {**asdict(adaptation.lora), "base_dtype": adaptation.base_dtype}
        for name, value in there.items():
            if name != "dropout" and here[name] != value:
                raise InputError(
                    f"The checkpoint's adapter was trained with {name} {value}, and the settings say {here[name]}.",
                    OWN_SETTINGS,
                )

    def check_base(self, base: str, digest: str | None = None) -> None:
        """Checks that a base has the weights that the adapter was made on.

        Args:
            base: Its name or folder.
            digest: Of its weights, if it is known.

        Raises:
            InputError: It has others, or cannot be reached.
        """
        try:
            found = digest or _compute_digest(base)
        except UnavailableError as error:
            raise InputError(f"The adapter needs its base {base}: {error.what}", _NAME_BASE) from error
        if found != self.digest:
            there, here = self.digest[:12], found[:12]
            raise InputError(
                f"{base} is not the base of this adapter: weights {here}, and it was made on {there} ({self.base}).",
                _NAME_BASE,
            )

    def restore(self, description: str, state: dict[str, Tensor], base: str | None = None) -> Adapter:
        """Loads the base and puts the adapter on it.

        Args:
            description: Of the network, as by `describe_network`.
            state: The adapter's weights by name.
            base: Folder or name of the base where it is not `self.base`.

        Raises:
            InputError: The base cannot be reached or is another one, or the weights do not fit it.
        """
        name = base or self.base
        say(f"The adapter's base: {name}")
        self.check_base(name)
        network = load_base(name, attention_dropout=0.0)
        embeddings: Any = network.get_input_embeddings()
        rows = int(json.loads(description).get("vocab_size") or 0)
        if rows > len(embeddings.weight):
            network.resize_token_embeddings(rows, mean_resizing=False)  # their values are in `state`
        adapter = Adapter(network, LoraSettings.read(self.lora), seed=0)
        round_frozen(network, self.base_dtype)
        adapter.load_state(state)
        return adapter


def _compute_digest(base: str) -> str:
    folder, _ = open_base(base)
    with show_progress(f"Reading {base}") as progress:
        return compute_digest(folder, progress)
