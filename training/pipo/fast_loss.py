"""Cross-entropy through a large output matrix without keeping its logits.

Loss and both gradients are computed chunk by chunk in the forward pass, so the [rows, V] logits exist only for
one chunk at a time. Matrix products run in bf16, the softmax and the sums in fp32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def _softmax_step(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """logits [n, V], targets [n], weights [n] → −log p of the targets [n], d(Σ weight·nll)/d logits [n, V]."""
    wide = logits.float()
    log_sum = torch.logsumexp(wide, dim=-1)
    nll = log_sum - wide.gather(-1, targets[:, None])[:, 0]
    is_target = torch.arange(wide.shape[-1], device=wide.device)[None] == targets[:, None]
    gradient = (torch.exp(wide - log_sum[:, None]) - is_target.float()) * weights[:, None]
    return nll, gradient.to(logits.dtype)


_compiled_step = torch.compile(_softmax_step, dynamic=False)


class _WeightedNll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, matrix, targets, weights, rows_per_chunk):
        narrow_rows, narrow_matrix = rows.to(torch.bfloat16), matrix.to(torch.bfloat16)
        row_gradient = torch.empty_like(narrow_rows)
        # A frozen output matrix of Qwen's size would cost gigabytes of gradient for nothing.
        matrix_gradient = torch.zeros_like(matrix, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        step = _compiled_step if rows.shape[0] % rows_per_chunk == 0 else _softmax_step
        parts = []
        for start in range(0, rows.shape[0], rows_per_chunk):
            part = slice(start, start + rows_per_chunk)
            logits = F.linear(narrow_rows[part], narrow_matrix)
            nll, gradient = step(logits, targets[part], weights[part])
            row_gradient[part] = gradient @ narrow_matrix
            if matrix_gradient is not None:
                matrix_gradient += gradient.t() @ narrow_rows[part]
            parts.append(nll)
        nll = torch.cat(parts)
        ctx.save_for_backward(row_gradient, matrix_gradient)
        ctx.row_dtype = rows.dtype
        ctx.mark_non_differentiable(nll)
        return (nll * weights).sum(), nll

    @staticmethod
    def backward(ctx, scale, _unused):
        row_gradient, matrix_gradient = ctx.saved_tensors
        rows = (row_gradient.to(ctx.row_dtype) * scale).to(ctx.row_dtype)
        return rows, None if matrix_gradient is None else matrix_gradient * scale, None, None, None


def weighted_nll(
    rows: Tensor, matrix: Tensor, targets: Tensor, weights: Tensor, rows_per_chunk: int = 1024
) -> tuple[Tensor, Tensor]:
    """Σ weight·nll with gradients to rows and matrix, and the nll of each row (fp32, without gradient).

    rows [n, H], matrix [V, H], targets [n], weights [n]; a weight of 0 removes a row. The softmax is compiled where
    `n` is a multiple of `rows_per_chunk`, so that there is only one shape.
    """
    return _WeightedNll.apply(rows, matrix, targets, weights, rows_per_chunk)
