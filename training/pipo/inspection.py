"""Teacher-forced views: the best tokens of every pair or position, as the engine's `inspect` reports them.

Rows beyond the real vocabulary are left out; PAD is an ordinary row here (only sampling bans it).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipo.config import pad_token_id, real_vocab_size
from pipo.decoding import pad_to_even
from pipo.modeling import PipoModel


def top_tokens(model: PipoModel, logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """logits [N, V] → ids [N, count], logits [N, count], best first."""
    best = logits[:, : real_vocab_size(model.config)].float().topk(count)
    return best.indices, best.values


@torch.no_grad()
def inspect_pairs(model: PipoModel, ids: list[int], count: int = 8) -> dict:
    """Pair j: `first` predicts x_{2j+2}; `second` predicts x_{2j+3} given x_{2j+2}, null for the last pair.

    An odd number of ids gets one PAD at its end. `preGate` is there where the model has a pre-gate.
    """
    ids = pad_to_even(ids, pad_token_id(model.config))
    out = model.pair_forward(torch.tensor([ids]))
    first = _scored(*top_tokens(model, out.first_logits[0], count))
    second = _scored(*top_tokens(model, out.second_logits[0], count))
    confidence = torch.sigmoid(out.confidence_logits[0].float()).tolist()
    confidence = [round(c, 7) for c in confidence]
    pairs = [
        {"index": j, "first": first[j], "second": second[j], "confidence": confidence[j]} for j in range(len(second))
    ]
    pairs.append({"index": len(second), "first": first[-1], "second": None, "confidence": None})
    if model.has_pre_gate:
        for pair, value in zip(pairs, torch.sigmoid(model.pre_gate(out.hidden[0]).float()).tolist(), strict=True):
            pair["preGate"] = round(value[0], 7)
    return {"mode": "pair", "pairs": pairs}


@torch.no_grad()
def inspect_plain(model: PipoModel, ids: list[int], count: int = 8) -> dict:
    """Position i: `top` predicts x_{i+1}."""
    scored = _scored(*top_tokens(model, model(torch.tensor([ids]))[0], count))
    return {"mode": "plain", "positions": [{"index": i, "top": top} for i, top in enumerate(scored)]}


def _scored(ids: Tensor, logits: Tensor) -> list[list[list[float]]]:
    return [
        [[i, round(v, 6)] for i, v in zip(*row, strict=True)] for row in zip(ids.tolist(), logits.tolist(), strict=True)
    ]
