"""How a network runs a batch: flat, where that is exact, else padded; and how its output layer makes logits.

Nothing here knows a family by its name. `find_execution` runs a few short rows through the network as transformers
does, one row at a time, and compares: only what gives the same hidden states and logits is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lightning_med.model import attention
from lightning_med.model.loss import OutputRule
from lightning_med.utils.errors import InputError, describe_error

OTHER_BASE = "Use another base, for instance distilgpt2 or HuggingFaceTB/SmolLM2-135M; docs/bases.md lists families."
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}  # relative; rounding is far below
_SHORT_ROWS = (9, 23, 14)  # tokens of the probe's rows; the second may be longer
# Parts of names of settings that act from some length on, and of those that say how large a network is.
_WINDOW_NAMES = ("window", "chunk", "local", "block", "topk", "top_k")
_SIZE_NAMES = (
    *("size", "dim", "num_", "n_", "width", "rank", "heads", "layers", "hidden", "inner", "ffn", "head", "position"),
    *("_id", "token", "seq_len", "length", "groups", "experts", "state", "version", "tp", "scale", "multiplier"),
)
_PADDING = 1.25  # greatest share of padded to real tokens in a group of rows
_FAILURES = (  # what networks raise that do not take the arguments or the attention of a flat batch
    *(RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError),
    *(NotImplementedError, AssertionError, ImportError),
)


@dataclass(frozen=True)
class Execution:
    """How a network runs a batch.

    Attributes:
        flat: Rows end to end with `attention.attend`; otherwise padded, with the network's own attention.
        native: Name of the network's own attention in transformers.
        output: How the output layer makes logits.
        reason: Why batches are not flat; empty if they are.
    """

    flat: bool
    native: str
    output: OutputRule
    reason: str = ""


def get_execution(network: PreTrainedModel) -> Execution:
    """Returns how a network runs; it is found at the first call."""
    execution = getattr(network, "lightning_med_execution", None)
    return execution or choose_execution(network, min(get_context_length(network), 1024))


def choose_execution(network: PreTrainedModel, longest: int, flat: bool = True) -> Execution:
    """Finds how a network runs and sets its attention accordingly.

    Args:
        network: With all weights on one device.
        longest: Tokens of the longest row that it will run.
        flat: Whether flat batches may be used.

    Raises:
        InputError: See `find_execution`.
    """
    execution = find_execution(network, longest, flat)
    network.set_attn_implementation(attention.ATTENTION_NAME if execution.flat else execution.native)
    network.lightning_med_execution = execution  # type: ignore[assignment]
    return execution


@contextmanager
def use_native_attention(network: PreTrainedModel) -> Iterator[None]:
    """Runs a network with its own attention in transformers, for instance to generate with a cache."""
    execution = getattr(network, "lightning_med_execution", None)
    if execution is None or not execution.flat:
        yield
        return
    network.set_attn_implementation(execution.native)
    try:
        yield
    finally:
        network.set_attn_implementation(attention.ATTENTION_NAME)


def get_context_length(network: PreTrainedModel) -> int:
    """Returns the maximal number of tokens of a prompt and its answer together; a million where there is no limit."""
    return read_context_length(network.config)


def read_context_length(whole: PretrainedConfig) -> int:
    """Returns `get_context_length` of a network that is not loaded, by its configuration."""
    config: Any = whole.get_text_config()
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):  # beyond it, the angles of a row depend on the whole batch
        limits.append(rope.get("original_max_position_embeddings"))
        limits.append(getattr(config, "original_max_position_embeddings", None))
    return min((int(limit) for limit in limits if limit), default=1_000_000)


def compute_hidden(network: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """Computes the last hidden states of a batch, `[tokens, width]`, in the order of its tokens.

    Args:
        network: A causal language model of transformers.
        batch: A flat or padded batch of `lightning_med.data.batching.collate`.
    """
    if "boundaries" not in batch:
        return _run(network, input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).flatten(0, 1)
    if get_execution(network).flat:
        return _run_flat(network, batch["input_ids"], batch["position_ids"], batch["boundaries"], batch["offsets"])
    return _run_padded(network, batch["input_ids"], batch["boundaries"])


def _run(network: PreTrainedModel, **inputs: Any) -> Tensor:
    return network.base_model(use_cache=False, **inputs).last_hidden_state


def _run_flat(
    network: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, boundaries: list[int], offsets: Tensor
) -> Tensor:
    documents = attention.DocumentBounds(boundaries, offsets)
    mask = attention.make_flat_mask()
    hidden = _run(network, input_ids=input_ids, position_ids=position_ids, attention_mask=mask, documents=documents)
    return hidden.flatten(0, 1)


def _run_padded(network: PreTrainedModel, input_ids: Tensor, boundaries: list[int]) -> Tensor:
    """Runs the rows of a flat batch in groups of about equal length, padded at their ends.

    Padding after a row changes nothing in it, as no token sees a later one.
    """
    spans = list(pairwise(boundaries))
    order = sorted(range(len(spans)), key=lambda row: spans[row][1] - spans[row][0], reverse=True)
    states: dict[int, Tensor] = {}
    while order:
        longest, real, count = spans[order[0]][1] - spans[order[0]][0], 0, 0
        for row in order:
            real += spans[row][1] - spans[row][0]
            if longest * (count + 1) > _PADDING * real:
                break
            count += 1
        group, order = order[:count], order[count:]
        ids = input_ids.new_zeros(count, longest)
        mask = torch.zeros_like(ids)
        for line, row in enumerate(group):
            start, end = spans[row]
            ids[line, : end - start] = input_ids[0, start:end]
            mask[line, : end - start] = 1
        hidden = _run(network, input_ids=ids, attention_mask=mask)
        states.update((row, hidden[line, : spans[row][1] - spans[row][0]]) for line, row in enumerate(group))
    return torch.cat([states[row] for row in range(len(spans))])


# ------------------------------------------------------------------ the probe


def find_execution(network: PreTrainedModel, longest: int, flat: bool = True) -> Execution:
    """Finds how a network can be run so that results equal those of transformers.

    Args:
        network: With its own attention, all weights on one device.
        longest: Tokens of the longest row that it will run. Where the configuration names a window or a chunk below it,
            a row of the probe is longer than that.
        flat: Whether flat batches may be used.

    Raises:
        InputError: The network is not causal, cannot be run, or its logits are no scaled, capped linear function of its
            last hidden states.
    """
    before = getattr(network, "lightning_med_execution", None)  # its attention may be ours since then
    native = before.native if before else str(network.config._attn_implementation)
    training = network.training
    network.set_attn_implementation(native)
    network.eval()
    try:
        with torch.no_grad(), torch.autocast(network.device.type, enabled=False), _exact_products():
            return _probe(network, native, _make_rows(network, longest), flat)
    except torch.OutOfMemoryError:
        raise
    except _FAILURES as error:
        reason = describe_error(error, 160)
        raise InputError(f"A {_name(network)} cannot be run here: {reason}", OTHER_BASE) from error
    finally:
        network.train(training)


@contextmanager
def _exact_products() -> Iterator[None]:
    """Keeps a GPU from rounding float32 products to TF32, whose errors are those of a wrong mask."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _probe(network: PreTrainedModel, native: str, rows: list[Tensor], flat: bool) -> Execution:
    expected = [_run(network, input_ids=row[None])[0] for row in rows]
    if not all(bool(hidden.isfinite().all()) for hidden in expected):
        raise InputError(f"A {_name(network)} with these weights gives values that are not finite.", OTHER_BASE)
    start = _run(network, input_ids=rows[1][None, : len(rows[1]) // 2])[0]
    if _differ(start, expected[1][: len(start)]):
        raise InputError(f"A {_name(network)} is not causal: a token sees later ones.", OTHER_BASE)
    logits = network(input_ids=rows[0][None], use_cache=False).logits[0]
    output = _fit_output(network, expected[0], logits)
    reason = _find_fault(network, rows, torch.cat(expected)) if flat else "pad_to_max_length"
    if reason:
        network.set_attn_implementation(native)
        joined = torch.cat(rows)[None]
        if _differ(_run_padded(network, joined, _bounds(rows)), torch.cat(expected)):
            raise InputError(f"A {_name(network)} gives other results in a padded batch than alone.", OTHER_BASE)
    return Execution(not reason, native, output, reason)


def _find_fault(network: PreTrainedModel, rows: list[Tensor], expected: Tensor) -> str:
    """Returns why a network cannot run flat batches; empty if it can."""
    network.set_attn_implementation(attention.ATTENTION_NAME)
    boundaries = _bounds(rows)
    positions = torch.cat([torch.arange(len(row), device=row.device) for row in rows])[None]
    offsets = torch.tensor(boundaries, dtype=torch.int32, device=positions.device)
    try:
        hidden = _run_flat(network, torch.cat(rows)[None], positions, boundaries, offsets)
    except torch.OutOfMemoryError:
        raise
    except _FAILURES:
        return "it does not run a flat one"
    return "a flat one changes its results" if _differ(hidden, expected) else ""


def _fit_output(network: PreTrainedModel, hidden: Tensor, logits: Tensor) -> OutputRule:
    """Returns the rule by which the output layer makes logits; its scale is the least-squares fit to the logits."""
    head = network.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise InputError(f"A {_name(network)} has no linear output layer.", OTHER_BASE)
    products = torch.nn.functional.linear(hidden, head.weight).cpu().double()
    target = logits.cpu().double()
    softcap = getattr(network.config.get_text_config(), "final_logit_softcapping", None)
    if softcap:
        target = softcap * (target / softcap).clamp(-1 + 1e-12, 1 - 1e-12).atanh()
    if head.bias is not None:
        target = target - head.bias.cpu().double()
    scale = float((products * target).sum() / products.square().sum())
    if _differ(products * scale, target, network.dtype):
        raise InputError(f"A {_name(network)} makes its logits in a way that is not supported.", OTHER_BASE)
    return OutputRule(1.0 if abs(scale - 1) < 1e-5 else scale, softcap)


def _make_rows(network: PreTrainedModel, longest: int) -> list[Tensor]:
    """Returns rows of random tokens; one is longer than every setting that may act from some length on."""
    config: Any = network.config.get_text_config()
    acting = [value for name, value in config.to_dict().items() if _may_act(name, value) and value < longest]
    lengths = list(_SHORT_ROWS)
    lengths[1] = max([lengths[1], *(value + 7 for value in acting)])
    context = get_context_length(network)
    generator = torch.Generator("cpu").manual_seed(0)  # devices named: a trainer makes its own the default one
    embeddings: Any = network.get_input_embeddings()
    vocabulary = len(embeddings.weight)
    sizes = [(min(length, context),) for length in lengths]
    return [torch.randint(vocabulary, size, generator=generator, device="cpu").to(network.device) for size in sizes]


def _may_act(name: str, value: Any) -> bool:
    """Returns whether a setting may say from what length on something happens, for instance `sliding_window`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        return False
    return any(part in name for part in _WINDOW_NAMES) or not any(part in name for part in _SIZE_NAMES)


def _bounds(rows: list[Tensor]) -> list[int]:
    return [0, *accumulate(len(row) for row in rows)]


def _differ(ours: Tensor, theirs: Tensor, dtype: torch.dtype | None = None) -> bool:
    """Whether two tensors differ by more than rounding, relative to how much the second one varies."""
    ours, theirs, tolerance = ours.cpu().double(), theirs.cpu().double(), _TOLERANCE[dtype or theirs.dtype]
    return not bool((ours - theirs).norm() <= tolerance * (theirs - theirs.mean()).norm() + 1e-12)


def _name(network: PreTrainedModel) -> str:
    return f"{network.config.model_type} network"
