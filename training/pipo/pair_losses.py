"""Losses of a batch in PIPO fine-tuning: what `pipo.losses` defines, quick enough to train with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipo.batches import Batch
from pipo.config import pad_token_id
from pipo.distillation import compact, distill, second_rows
from pipo.fast_loss import weighted_nll
from pipo.losses import IGNORED
from pipo.modeling import PipoModel
from pipo.trainer import narrow_products

# What the draft head learns from: labels, or a teacher by one of the distances of `pipo.distillation`.
DRAFT_LOSSES = {"ce": "", "kl": "full", "tv": "tv"}


def _shifted(values: Tensor, first: int) -> Tensor:
    """values [B, 2L] → [B, L]: row j holds `values[2j + first]`, 0 beyond the end."""
    taken = values[:, first::2]
    return F.pad(taken, (0, values.shape[1] // 2 - taken.shape[1]))


@dataclass(frozen=True)
class Forward:
    """Teacher-forced hidden rows of a batch and what they should predict; all [B, L] or [B, L, H]."""

    hidden: Tensor
    draft: Tensor
    first_ids: Tensor
    second_ids: Tensor
    first_weights: Tensor
    second_weights: Tensor


def forward_pairs(model: PipoModel, batch: Batch) -> Forward:
    first_ids = _shifted(batch.ids, 2)
    with narrow_products(batch.ids.device):
        hidden = model.pair_hidden(batch.ids)
        draft = model.draft_hidden(hidden, first_ids)
    return Forward(
        hidden,
        draft,
        first_ids,
        _shifted(batch.ids, 3),
        _shifted(batch.weights, 2),
        _shifted(batch.weights, 3),
    )


def gate_loss(score: Callable[..., Tensor], inputs: tuple[Tensor, ...], target: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy of a gate against `target` [B, L] over valid rows; it moves nothing but the gate."""
    with narrow_products(target.device):
        logits = score(*(rows.detach() for rows in inputs)).float().view_as(target)
    errors = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (errors * valid).sum() / valid.sum().clamp(min=1)


def label_loss(model: PipoModel, hidden: Tensor, ids: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean of −log p of `ids` [B, L], and −log p of each [B, L] without gradient."""
    share = (weights / weights.sum().clamp(min=1e-9)).flatten()
    loss, nll = weighted_nll(hidden.flatten(0, 1), output_matrix(model), ids.flatten(), share)
    return loss, nll.view_as(weights)


def distilled_draft_loss(
    model: PipoModel, teacher: PipoModel, rows: Forward, batch: Batch, kind: str
) -> tuple[Tensor, Tensor]:
    """Weighted mean distance of the draft's distribution from the teacher's, and the confidence target [B, L]."""
    pad = pad_token_id(model.config)
    compacted, idx = compact(batch.ids, pad)
    with torch.no_grad(), narrow_products(batch.ids.device):
        taught = teacher.plain_hidden(compacted)
    picked = second_rows(batch.ids.masked_fill(batch.weights == 0, IGNORED), idx, pad, fill_pad_label=False)
    with narrow_products(batch.ids.device):
        losses = distill(
            (rows.draft[picked.sequence, picked.student], model.logits),
            (taught[picked.sequence, picked.teacher], teacher.logits),
            picked.labels,
            pad,
            DRAFT_LOSSES[kind],
        )
    weights = rows.second_weights[picked.sequence, picked.student]
    target = torch.zeros_like(rows.second_weights)
    target[picked.sequence, picked.student] = losses.target
    return (losses.loss * weights).sum() / weights.sum().clamp(min=1e-9), target


def pair_losses(
    model: PipoModel, batch: Batch, draft_loss: str = "ce", teacher: PipoModel | None = None
) -> dict[str, Tensor]:
    """The three losses of `pipo.losses`, with a weight per token, at fixed shapes and in bf16 matrix products.

    `draft_loss` "kl" or "tv" replaces the draft head's cross-entropy by its distance from a plain teacher. A
    pre-gate learns the confidence head's target from the backbone's hidden alone.
    """
    rows = forward_pairs(model, batch)
    valid = (rows.second_weights > 0).float()
    first, _ = label_loss(model, rows.hidden, rows.first_ids, rows.first_weights)
    if draft_loss == "ce":
        second, nll = label_loss(model, rows.draft, rows.second_ids, rows.second_weights)
        target = torch.exp(-nll)
    else:
        second, target = distilled_draft_loss(model, teacher, rows, batch, draft_loss)
    confidence = gate_loss(model.confidence_head, (rows.hidden, rows.draft), target, valid)
    losses = {"loss": first + second + confidence, "first": first, "second": second, "confidence": confidence}
    if model.has_pre_gate:
        losses["pre_gate"] = gate_loss(model.pre_gate, (rows.hidden,), target, valid)
        losses["loss"] = losses["loss"] + losses["pre_gate"]
    return losses


def output_matrix(model: PipoModel) -> Tensor:
    """[V, H]"""
    return model.model.embed_tokens.weight if model.config.tie_word_embeddings else model.lm_head.weight
