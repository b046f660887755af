"""The chunked gated delta rule for training on a CPU: batched matrix products and one cheap triangular inverse.

Same arguments and result as `torch_chunk_gated_delta_rule` of Hugging Face transformers, which solves two
triangular systems per chunk (and differentiates through both). Per chunk, with cumulated log decays `L`:

    A  = strictly-lower(beta_i (k_i . k_j) exp(L_i - L_j))      T = (I + A)^-1
    U  = T (beta V)         W = T (beta exp(L) K)
    N  = U - W S            O = (exp(L) Q) S + lower(Q K^T exp(L_i - L_j)) N
    S' = exp(L_c) S + (exp(L_c - L) K)^T N

All of it in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_5 import modeling_qwen3_5

_BLOCK = 8  # diagonal blocks inverted by a product of nilpotent factors; larger ones lose precision


def unit_lower_inverse(strict: Tensor) -> Tensor:
    """(I + strict)^-1 for strictly lower triangular [..., c, c] with c = 8, 16, 32, 64, …

    Diagonal 8x8 blocks N: (I + N)^-1 = (I - N)(I + N^2)(I + N^4), exact because N^8 = 0; then neighbours are
    merged: [[P, 0], [R, Q]]^-1 = [[P', 0], [-Q' R P', Q']].
    """
    size = strict.shape[-1]
    flat = strict.reshape(-1, size, size)
    blocks = size // _BLOCK
    tiles = flat.reshape(-1, blocks, _BLOCK, blocks, _BLOCK)
    diagonal = torch.stack([tiles[:, i, :, i] for i in range(blocks)], dim=1)  # [n, blocks, 8, 8]
    eye = torch.eye(_BLOCK, dtype=strict.dtype, device=strict.device)
    square = diagonal @ diagonal
    inverse = (eye - diagonal) @ (eye + square) @ (eye + square @ square)
    width = _BLOCK
    while width < size:
        upper, lower = inverse[:, 0::2], inverse[:, 1::2]
        tiles = flat.reshape(-1, size // width, width, size // width, width)
        below = torch.stack([tiles[:, i + 1, :, i] for i in range(0, size // width, 2)], dim=1)
        corner = -(lower @ below @ upper)
        top = torch.cat([upper, torch.zeros_like(upper)], dim=-1)
        inverse = torch.cat([top, torch.cat([corner, lower], dim=-1)], dim=-2)
        width *= 2
    return inverse.reshape(strict.shape)


class _UnitLowerInverse(torch.autograd.Function):
    """`unit_lower_inverse` with its closed-form gradient, -T^T G T^T below the diagonal."""

    @staticmethod
    def forward(ctx, strict: Tensor) -> Tensor:
        inverse = unit_lower_inverse(strict)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        transposed = inverse.transpose(-1, -2)
        return -(transposed @ gradient @ transposed).tril(-1)


def _l2_normalised(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def _chunked(x: Tensor, chunk: int) -> Tensor:
    """[B, T, N, d] → [B, N, T / chunk, chunk, d] in fp32."""
    batch, length, heads, size = x.shape
    return x.float().reshape(batch, length // chunk, chunk, heads, size).permute(0, 3, 1, 2, 4)


def chunk_gated_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    chunk_size: int = 64,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **_unused,
) -> tuple[Tensor, Tensor | None]:
    """query, key [B, T, Nk, dk], value [B, T, Nv, dv], g and beta [B, T, Nv] → ([B, T, Nv, dv], last state or None).

    The state is [B, Nv, dk, dv]. T need not be a multiple of the chunk; `g <= 0`.
    """
    with torch.autocast(query.device.type, enabled=False):
        return _chunk_rule(
            query, key, value, g, beta, chunk_size, initial_state, output_final_state, use_qk_l2norm_in_kernel
        )


def _chunk_rule(query, key, value, g, beta, chunk, state, output_final_state, normalise):
    dtype, length = query.dtype, query.shape[1]
    repeat = value.shape[2] // key.shape[2]
    if repeat > 1:
        query, key = query.repeat_interleave(repeat, dim=2), key.repeat_interleave(repeat, dim=2)
    padding = -length % chunk
    if padding:
        query, key, value = (F.pad(x, (0, 0, 0, 0, 0, padding)) for x in (query, key, value))
        g, beta = (F.pad(x, (0, 0, 0, padding)) for x in (g, beta))

    q, k, v = (_chunked(x, chunk) for x in (query, key, value))
    if normalise:
        q, k = _l2_normalised(q), _l2_normalised(k)
    q = q * q.shape[-1] ** -0.5
    decay = _chunked(g[..., None], chunk)[..., 0].cumsum(-1)  # L [B, N, n, c]
    strength = _chunked(beta[..., None], chunk)  # [B, N, n, c, 1]

    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    between = (decay[..., :, None] - decay[..., None, :]).masked_fill(~lower, float("-inf")).exp()
    transposed = k.transpose(-1, -2)
    inverse = _UnitLowerInverse.apply(((k * strength) @ transposed * between).tril(-1))
    within = (q @ transposed) * between
    from_start = decay.exp()[..., None]
    new_values = inverse @ (v * strength)
    read_keys = inverse @ (k * (strength * from_start))
    q = q * from_start
    write_keys = (k * (decay[..., -1:] - decay).exp()[..., None]).transpose(-1, -2)
    carry = decay[..., -1].exp()[..., None, None]

    if state is None:
        state = torch.zeros(*q.shape[:2], q.shape[-1], v.shape[-1], dtype=torch.float32, device=q.device)
    else:
        state = state.float()
    outputs = []
    for i in range(q.shape[2]):
        corrected = new_values[:, :, i] - read_keys[:, :, i] @ state
        outputs.append(q[:, :, i] @ state + within[:, :, i] @ corrected)
        state = state * carry[:, :, i] + write_keys[:, :, i] @ corrected
    output = torch.stack(outputs, dim=2).flatten(2, 3)[:, :, :length]  # [B, N, T, dv]
    return output.transpose(1, 2).to(dtype), state if output_final_state else None


def causal_conv1d(hidden_states: Tensor, weight: Tensor, bias=None, activation: str | None = None, **_unused) -> Tensor:
    """Depthwise causal convolution [B, C, T] with weight [C, K] as K shifted products, then SiLU if asked.

    The convolution's own backward pass is by far the slowest part of a layer on a CPU; products fuse.
    """
    if bias is not None or activation not in (None, "silu"):
        raise ValueError("expected no bias and the silu activation")
    taps, length = weight.shape[-1], hidden_states.shape[-1]
    rows = F.pad(hidden_states.transpose(1, 2), (0, 0, taps - 1, 0)).float()  # [B, K - 1 + T, C], channels adjacent
    by_tap = weight.float().t().contiguous()  # [K, C]
    out = sum(by_tap[i] * rows[:, i : i + length] for i in range(taps))
    return (F.silu(out) if activation else out).to(hidden_states.dtype).transpose(1, 2)


@contextmanager
def fast_gated_deltanet() -> Iterator[None]:
    """Within the block, transformers' Qwen3.5 layers use this file's rule and convolution."""
    replaced = {"torch_chunk_gated_delta_rule": chunk_gated_delta_rule, "causal_conv1d_fn": causal_conv1d}
    previous = {name: getattr(modeling_qwen3_5, name) for name in replaced}
    for name, function in replaced.items():
        setattr(modeling_qwen3_5, name, function)
    try:
        yield
    finally:
        for name, function in previous.items():
            setattr(modeling_qwen3_5, name, function)
