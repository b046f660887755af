"""The three losses of PIPO fine-tuning, in fp32.

    first       mean over valid j of  −log p1_j[x_{2j+2}]
    second      mean over valid j of  −log p2_j[x_{2j+3}]
    confidence  mean over valid j of  BCE(confidence logit_j, p2_j[x_{2j+3}])
    total       first + second + confidence

A row is valid where its label is not −100 (never at a PAD); each mean has its own count. The confidence head
learns from detached inputs and a detached target, so it never moves the backbone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipo.modeling import PipoModel

IGNORED = -100


@dataclass
class SftLosses:
    """Scalars with gradient, and how many rows stand behind the first and the second mean."""

    total: Tensor
    first: Tensor
    second: Tensor
    confidence: Tensor
    first_rows: int
    second_rows: int


def sft_losses(model: PipoModel, ids: Tensor, labels: Tensor, rows_per_chunk: int = 2048) -> SftLosses:
    """Losses of a batch of equally long pair sequences.

    ids, labels [B, 2L]; labels repeat the ids or hold −100. The output matrix is applied to `rows_per_chunk`
    valid rows at a time and to no others.
    """
    hidden = model.pair_hidden(ids)[:, :-1]
    draft = model.draft_hidden(hidden, ids[:, 2::2])
    first_labels, second_labels = labels[:, 2::2], labels[:, 3::2]

    first_nll = label_nll(model, hidden, first_labels, rows_per_chunk)
    second_nll = label_nll(model, draft, second_labels, rows_per_chunk)
    valid = second_labels != IGNORED
    scores = model.confidence_head(hidden.detach()[valid], draft.detach()[valid]).float()
    target = torch.exp(-second_nll.detach()).clamp(0.0, 1.0)

    first, second = _mean(first_nll), _mean(second_nll)
    confidence = _mean(F.binary_cross_entropy_with_logits(scores, target, reduction="none"))
    return SftLosses(
        total=first + second + confidence,
        first=first,
        second=second,
        confidence=confidence,
        first_rows=first_nll.numel(),
        second_rows=second_nll.numel(),
    )


def plain_loss(model: PipoModel, ids: Tensor, labels: Tensor, rows_per_chunk: int = 2048) -> Tensor:
    """Next-token loss of plain decoding; ids, labels [B, T]."""
    return _mean(label_nll(model, model.plain_hidden(ids)[:, :-1], labels[:, 1:], rows_per_chunk))


def label_nll(model: PipoModel, hidden: Tensor, labels: Tensor, rows_per_chunk: int) -> Tensor:
    """hidden [B, N, H], labels [B, N] → −log p of each valid label [n_valid], row-major, fp32."""
    valid = labels != IGNORED
    rows, targets = hidden[valid], labels[valid]
    parts = [
        F.cross_entropy(model.logits(r).float(), t, reduction="none")
        for r, t in zip(rows.split(rows_per_chunk), targets.split(rows_per_chunk), strict=True)
    ]
    return torch.cat(parts)


def _mean(values: Tensor) -> Tensor:
    # An empty mean is 0, still attached to the graph, so that a batch without labels is harmless.
    return values.sum() / max(values.numel(), 1)
