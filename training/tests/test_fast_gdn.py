"""The fast gated delta rule equals transformers' own, values and gradients."""

import pytest
import torch
from transformers.models.qwen3_5.modeling_qwen3_5 import torch_chunk_gated_delta_rule, torch_recurrent_gated_delta_rule

from pipo.fast_gdn import chunk_gated_delta_rule, unit_lower_inverse


def inputs(length: int, key_heads: int, value_heads: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "query": normal(2, length, key_heads, 16),
        "key": normal(2, length, key_heads, 16),
        "value": normal(2, length, value_heads, 24),
        "g": -torch.rand(2, length, value_heads, generator=generator),
        "beta": torch.rand(2, length, value_heads, generator=generator),
    }


@pytest.mark.parametrize("length", [5, 64, 150])
@pytest.mark.parametrize("heads", [(2, 2), (2, 4)])
@pytest.mark.parametrize("chunk", [32, 64])
def test_equals_the_recurrence(length: int, heads: tuple[int, int], chunk: int) -> None:
    arguments = inputs(length, *heads)
    expected, state = torch_recurrent_gated_delta_rule(
        **arguments, output_final_state=True, use_qk_l2norm_in_kernel=True
    )
    actual, final = chunk_gated_delta_rule(
        **arguments, chunk_size=chunk, output_final_state=True, use_qk_l2norm_in_kernel=True
    )
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(final, state, atol=2e-5, rtol=1e-4)


def test_gradients_equal_those_of_transformers() -> None:
    gradients = []
    for rule in (torch_chunk_gated_delta_rule, chunk_gated_delta_rule):
        arguments = {name: x.clone().requires_grad_() for name, x in inputs(130, 2, 4).items()}
        output, _ = rule(**arguments, use_qk_l2norm_in_kernel=True)
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        gradients.append({name: x.grad for name, x in arguments.items()})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=5e-5, rtol=1e-3, msg=name)


def test_repeated_keys_without_decay_stay_exact() -> None:
    arguments = inputs(128, 1, 1)
    arguments["key"] = arguments["key"][:, :1].expand(-1, 128, -1, -1)
    arguments["g"] = torch.zeros(2, 128, 1)
    arguments["beta"] = torch.full((2, 128, 1), 0.99)
    expected, _ = torch_recurrent_gated_delta_rule(**arguments, use_qk_l2norm_in_kernel=True)
    actual, _ = chunk_gated_delta_rule(**arguments, use_qk_l2norm_in_kernel=True)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)


def test_triangular_inverse() -> None:
    strict = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(1)).tril(-1) * 0.2
    product = unit_lower_inverse(strict) @ (torch.eye(64) + strict)
    torch.testing.assert_close(product, torch.eye(64).expand_as(product), atol=1e-4, rtol=0)
