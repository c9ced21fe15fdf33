"""How a network runs is found by comparing it with transformers, whatever its family."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from lightning_med.model import attention, execution
from lightning_med.model.causal_lm import add_embeddings, build_from_scratch, compute_nll
from lightning_med.model.execution import choose_execution, get_context_length, get_execution, use_native_attention
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.model.flat_batches import make_flat_batch

LLAMA = {"model_type": "llama", **tiny.LLAMA}
SPARSE = {  # each token attends to the 8 that an index chooses
    "model_type": "deepseek_v32", "num_key_value_heads": 4, "index_topk": 8, "index_n_heads": 4, "index_head_dim": 16,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 2,
}  # fmt: skip
LENGTHS = (5, 40, 17)


def build(**fields: Any) -> PreTrainedModel:
    network = build_from_scratch({**LLAMA, **fields}, 100, 0, 0.0, seed=3).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return network


def make_batch() -> dict[str, Any]:
    """A flat batch in which every token but the first of a row is learned."""
    rows = [torch.randint(100, (length,), generator=torch.Generator().manual_seed(length)) for length in LENGTHS]
    bounds = [0, 5, 45, 62]
    learned = torch.cat([torch.arange(a + 1, b) for a, b in pairwise(bounds)])
    return {**make_flat_batch(rows, learned), "rows": rows}


def compute_expected(network: PreTrainedModel, rows: list[torch.Tensor]) -> float:
    """The loss of transformers, each row alone."""
    with use_native_attention(network), torch.no_grad():
        logits = [network(input_ids=row[None], use_cache=False).logits[0, :-1] for row in rows]
    return float(sum(cross_entropy(part, row[1:], reduction="sum") for part, row in zip(logits, rows, strict=True)))


@pytest.mark.parametrize(
    ("fields", "flat"),
    [
        ({}, True),
        ({"model_type": "mistral", "sliding_window": 8}, True),
        ({"model_type": "granite", "logits_scaling": 8.0}, True),
        ({"model_type": "gemma2", "sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8}, True),
        ({"model_type": "phi", "num_key_value_heads": 4}, True),  # a bias in the output layer
        ({"model_type": "lfm2", "layer_types": ["conv", "full_attention"]}, False),
        (SPARSE, False),
    ],
)
def test_the_loss_is_that_of_transformers(fields: dict[str, Any], flat: bool) -> None:
    network, batch = build(**fields), make_batch()
    found = choose_execution(network, max(LENGTHS))
    assert found.flat == flat
    assert bool(found.reason) != flat
    expected = compute_expected(network, batch["rows"])
    assert float(compute_nll(network, batch)[0]) == pytest.approx(expected, rel=1e-5)


def test_attention_that_ignores_a_window_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    network, attend = build(model_type="mistral", sliding_window=8), attention.attend

    def ignore_window(*inputs: Any, sliding_window: int | None = None, **options: Any) -> Any:
        return attend(*inputs, **options)

    monkeypatch.setitem(execution.attention.AttentionInterface._global_mapping, attention.ATTENTION_NAME, ignore_window)
    found = choose_execution(network, max(LENGTHS))
    assert not found.flat
    batch = make_batch()
    expected = compute_expected(network, batch["rows"])
    assert float(compute_nll(network, batch)[0]) == pytest.approx(expected, rel=1e-5)


def test_a_window_beyond_all_rows_costs_no_long_probe() -> None:
    rows = execution._make_rows(build(model_type="mistral", sliding_window=100), longest=50)
    assert max(map(len, rows)) < 50
    assert max(map(len, execution._make_rows(build(model_type="mistral", sliding_window=30), longest=50))) > 30


def test_padded_gradients_equal_flat_ones() -> None:
    network, batch = build(), make_batch()
    gradients = []
    for flat in (True, False):
        assert choose_execution(network, max(LENGTHS), flat=flat).flat == flat
        network.zero_grad()
        compute_nll(network, batch)[0].backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]))  # type: ignore[union-attr]
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-5


def test_a_network_that_sees_later_tokens_is_refused() -> None:
    fields = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
    network = build_from_scratch({**fields, "model_type": "bert"}, 100, 0, 0.0, seed=3)
    with pytest.raises(InputError, match="not causal"):
        choose_execution(network, 20)


def test_weights_that_are_not_finite_are_refused() -> None:
    network = build()
    with torch.no_grad():
        network.get_input_embeddings().weight[:] = torch.nan  # type: ignore[index,union-attr,operator]
    with pytest.raises(InputError, match="not finite"):
        choose_execution(network, 20)


def test_the_probe_leaves_mode_and_weights_alone() -> None:
    network = build().train()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    state = torch.get_rng_state()
    choose_execution(network, 20)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_generation_uses_the_networks_own_attention() -> None:
    network = build()
    get_execution(network)
    assert network.config._attn_implementation == attention.ATTENTION_NAME
    with use_native_attention(network):
        assert network.config._attn_implementation == "sdpa"
    assert network.config._attn_implementation == attention.ATTENTION_NAME


def test_dynamic_positions_limit_the_context() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    assert get_context_length(build()) == 160
    assert get_context_length(build(rope_parameters=rope)) == 64


def test_new_tokens_start_as_the_mean_of_the_others() -> None:
    for tied in (True, False):
        network = build(tie_word_embeddings=tied)
        old = network.get_input_embeddings().weight.detach().clone()  # type: ignore[union-attr,operator]
        add_embeddings(network, [100, 101, 102])
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            weight: Any = layer.weight  # type: ignore[union-attr]
            assert len(weight) == 103
            torch.testing.assert_close(weight[100:], weight[:100].mean(0).expand(3, -1))
        assert torch.equal(network.get_input_embeddings().weight[:100], old)  # type: ignore[index,union-attr]
        assert network.config.vocab_size == 103


def test_new_tokens_may_take_rows_that_the_base_has_to_spare() -> None:
    network = build()
    old = network.get_input_embeddings().weight.detach().clone()  # type: ignore[union-attr,operator]
    add_embeddings(network, [97, 98])
    weight: Any = network.get_input_embeddings().weight  # type: ignore[union-attr]
    assert len(weight) == 100
    others = [*range(97), 99]
    assert torch.equal(weight[others], old[others])
    torch.testing.assert_close(weight[97:99], old[others].mean(0).expand(2, -1))


def test_another_default_device_does_not_disturb_the_probe() -> None:
    network = build()
    with torch.device("meta"):  # as a trainer makes its GPU the default device
        assert choose_execution(network, 20).flat


def test_a_second_choice_knows_the_networks_own_attention() -> None:
    network = build(model_type="gemma2", sliding_window=8, head_dim=8, query_pre_attn_scalar=8)
    for flat in (True, True, False):
        assert choose_execution(network, 20, flat=flat).native == "eager"  # SDPA has no soft cap
