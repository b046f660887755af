"""Losses of on-policy distillation, in fp32: a pair model's student rows against rows of a frozen plain teacher.

With student p_s, teacher p_t and the token y that the rollout holds, each row has a loss and a confidence target
(without gradient):

    sampled  KL estimate  log p_s(y) - log p_t(y)                    exp(-max(0, log p_s(y) - log p_t(y)))
    topk     reverse KL on {student top K, teacher top K, y},        min(1, p_t(y) / p_s(y)) with the same
             both renormalised on it                                 renormalised values
    full     reverse KL over the vocabulary                          sum of min(p_s, p_t)
    tv       total variation, 1 - sum of min(p_s, p_t)               sum of min(p_s, p_t)

The expected gradient of `log p_s(y)` is zero, so the estimate itself teaches nothing; `sampled` has the estimate's
value and the gradient of `sg[log p_s(y) - log p_t(y)] log p_s(y)`, whose expectation is that of the reverse KL.

The student reads pairs, the teacher the same text without its PADs. With ids x_0 … x_{2L-1} and
idx(i) = (tokens other than PAD among x_0 … x_i) - 1:

    h_j predicts x_{2j+2} as teacher row idx(2j+1) does;  m_j predicts x_{2j+3} as teacher row idx(2j+2) does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pipo.losses import IGNORED

MODES = ("sampled", "topk", "full", "tv")
DEFAULT_TOP_K = 32


@dataclass(frozen=True)
class RowLosses:
    """One number per row [n]: `loss` with gradient, `target` of the confidence head, teacher's log p of the label."""

    loss: Tensor
    target: Tensor
    teacher_log_prob: Tensor


def row_losses(student: Tensor, teacher: Tensor, labels: Tensor, mode: str, top_k: int = DEFAULT_TOP_K) -> RowLosses:
    """Logits student, teacher [n, V] and labels [n]; no gradient reaches the teacher."""
    student, teacher = student.float(), teacher.detach().float()
    log_t = teacher.log_softmax(-1)
    teacher_log_prob = _at(log_t, labels)
    if mode == "topk":
        loss, target = _topk(student, teacher, labels, top_k)
    else:
        log_s = student.log_softmax(-1)
        if mode == "sampled":
            loss, target = _sampled(_at(log_s, labels), teacher_log_prob)
        elif mode == "full":
            loss, target = _reverse_kl(log_s, log_t), _overlap(log_s.exp(), log_t.exp())
        elif mode == "tv":
            target = _overlap(log_s.exp(), log_t.exp())
            loss = 1.0 - target
        else:
            raise ValueError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
    return RowLosses(loss, target.detach(), teacher_log_prob)


def _at(values: Tensor, labels: Tensor) -> Tensor:
    """[n, V], [n] → [n]"""
    return values.gather(1, labels[:, None])[:, 0]


def _sampled(log_s: Tensor, log_t: Tensor) -> tuple[Tensor, Tensor]:
    estimate = (log_s - log_t).detach()
    surrogate = estimate * log_s
    return surrogate + (estimate - surrogate.detach()), torch.exp(-estimate.clamp(min=0.0))


def _topk(student: Tensor, teacher: Tensor, labels: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    count = min(top_k, student.shape[-1])
    ids = torch.cat([labels[:, None], student.topk(count).indices, teacher.topk(count).indices], dim=1)
    earlier = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril(-1)
    repeated = ((ids[:, :, None] == ids[:, None, :]) & earlier).any(-1)  # the label is first, so it always stays
    log_s, log_t = (x.gather(1, ids).masked_fill(repeated, float("-inf")).log_softmax(-1) for x in (student, teacher))
    ratio = (log_s - log_t).masked_fill(repeated, 0.0)
    return (log_s.exp() * ratio).sum(-1), torch.exp(-ratio[:, 0].clamp(min=0.0))


def _reverse_kl(log_s: Tensor, log_t: Tensor) -> Tensor:
    return (log_s.exp() * (log_s - log_t)).sum(-1)


def _overlap(p_s: Tensor, p_t: Tensor) -> Tensor:
    # `torch.minimum` would give half of the gradient where both are equal.
    return torch.where(p_s <= p_t, p_s, p_t).sum(-1)


def compact(ids: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """The teacher's text: ids [B, T] → the same without PADs [B, T'], filled up with PADs behind, and idx [B, T].

    idx says which teacher row has just read the newest token up to a slot.
    """
    is_pad = ids == pad
    order = is_pad.to(torch.int8).argsort(dim=1, stable=True)
    longest = int((~is_pad).sum(1).max())
    return ids.gather(1, order)[:, :longest], (~is_pad).cumsum(1) - 1


@dataclass(frozen=True)
class Rows:
    """Rows to be distilled, all [n]: sequence, student row in it, teacher row in it, label (PAD: gate was closed)."""

    sequence: Tensor
    student: Tensor
    teacher: Tensor
    labels: Tensor


def first_rows(labels: Tensor, idx: Tensor) -> Rows:
    """Rows of the first output. labels, idx [B, 2L]; labels are −100 outside of the response, PAD at its PADs."""
    return _rows(labels, idx, 2, labels[:, 2::2] != IGNORED)


def second_rows(labels: Tensor, idx: Tensor, pad: int, fill_pad_label: bool = True) -> Rows:
    """Rows of the draft head; those whose label is PAD are among them only if `fill_pad_label`."""
    targets = labels[:, 3::2]
    return _rows(labels, idx, 3, (targets != IGNORED) & ((targets != pad) | fill_pad_label))


def _rows(labels: Tensor, idx: Tensor, first_slot: int, valid: Tensor) -> Rows:
    sequence, student = valid.nonzero(as_tuple=True)
    slot = 2 * student + first_slot
    return Rows(sequence, student, idx[sequence, slot - 1], labels[sequence, slot])


Head = Callable[[Tensor], Tensor]


def distill(
    student: tuple[Tensor, Head],
    teacher: tuple[Tensor, Head],
    labels: Tensor,
    pad: int,
    mode: str,
    top_k: int = DEFAULT_TOP_K,
    rows_per_chunk: int = 1024,
) -> RowLosses:
    """`row_losses` of hidden rows [n, H] that a head maps to logits [n, V], a chunk of rows at a time.

    A chunk's logits are made again for its backward pass, so they exist for one chunk only. A label that is PAD
    becomes the token that the student itself finds best.
    """

    def chunk(hidden: Tensor, teacher_hidden: Tensor, chunk_labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = student[1](hidden)
        with torch.no_grad():
            teacher_logits = teacher[1](teacher_hidden)
            chunk_labels = fill_pad_labels(logits, chunk_labels, pad)
        losses = row_losses(logits, teacher_logits, chunk_labels, mode, top_k)
        return losses.loss, losses.target, losses.teacher_log_prob

    parts = zip(*(x.split(rows_per_chunk) for x in (student[0], teacher[0], labels)), strict=True)
    done = [checkpoint(chunk, *part, use_reentrant=False) for part in parts]
    return RowLosses(*(torch.cat(values) for values in zip(*done, strict=True)))


def fill_pad_labels(logits: Tensor, labels: Tensor, pad: int) -> Tensor:
    """logits [n, V], labels [n] → labels in which PAD is replaced by the best token other than PAD."""
    best = logits.detach().index_fill(1, torch.tensor([pad], device=logits.device), float("-inf")).argmax(-1)
    return torch.where(labels == pad, best, labels)
