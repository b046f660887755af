"""Greedy decoding written for clarity: every step runs the whole sequence again, without any cache.

It is the meaning that the engine's incremental decoding is tested against:

    t1 = best real token of the first head          (a stop id here ends the sequence, without a draft)
    a pre-gate below its threshold: no draft, t2 = PAD; later drafts see this pair as if there had been one
    m  = draft hidden, the draft head seeing every pair, the prompt's included
    t2 = best real token of the second head where the gate accepts, else PAD
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipo.config import pad_token_id, real_vocab_size
from pipo.modeling import PipoModel


@dataclass
class PairDecode:
    """One decoded sequence.

    slots        two per step, PAD included; one in the last step when its first token is a stop id
    confidences  one per step, None where the confidence head was not evaluated
    margins      smallest distances to another outcome: between best and next logit, and between confidence and
                 threshold (the pre-gate's too); a decode with small margins is no ground truth for other arithmetic
    skipped      how many drafts the pre-gate spared
    pad_wins     how often PAD held the best logit of a real token and was passed over
    """

    pad: int
    slots: list[int] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)
    stopped: bool = False
    logit_margin: float = float("inf")
    gate_margin: float = float("inf")
    skipped: int = 0
    pad_wins: int = 0

    @property
    def tokens(self) -> list[int]:
        return [slot for slot in self.slots if slot != self.pad]


@dataclass
class PlainDecode:
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    logit_margin: float = float("inf")


def pad_to_even(ids: list[int], pad: int) -> list[int]:
    """A prompt of odd length gets one PAD at its very end."""
    return [*ids, pad] if len(ids) % 2 else list(ids)


def gate_accepts(confidence: float | None, threshold: float) -> bool:
    """Below 0: no gate; 0: always; up to 1: confidence not less than the threshold; 1 and above: never."""
    if threshold >= 1:
        return False
    return threshold <= 0 or confidence >= threshold


@torch.no_grad()
def decode_pairs(
    model: PipoModel,
    prompt: list[int],
    threshold: float,
    max_steps: int,
    stop_ids: tuple[int, ...] = (),
    pre_gate_threshold: float = 0.0,
) -> PairDecode:
    pad = pad_token_id(model.config)
    out, ids = PairDecode(pad), pad_to_even(prompt, pad)
    for _ in range(max_steps):
        hidden = model.pair_hidden(torch.tensor([ids]))
        first = _pick_unpadded(model, hidden[0, -1], out)
        out.slots.append(first)
        if first in stop_ids:
            out.confidences.append(None)
            out.stopped = True
            break
        if threshold >= 1 or _pre_gate_skips(model, hidden[0, -1], pre_gate_threshold, out):
            out.confidences.append(None)
            second = pad
        else:
            second = _second_token(model, hidden, [*ids[2::2], first], threshold, out)
        out.slots.append(second)
        ids += [first, second]
        if second in stop_ids:
            out.stopped = True
            break
    return out


@torch.no_grad()
def decode_plain(model: PipoModel, prompt: list[int], max_tokens: int, stop_ids: tuple[int, ...] = ()) -> PlainDecode:
    """One token per step; nothing is banned but the rows beyond the real vocabulary."""
    out, ids = PlainDecode(), list(prompt)
    for _ in range(max_tokens):
        token = _pick(_real_logits(model, model.plain_hidden(torch.tensor([ids]))[0, -1]), out)
        out.tokens.append(token)
        ids.append(token)
        if token in stop_ids:
            out.stopped = True
            break
    return out


def _pre_gate_skips(model: PipoModel, hidden: Tensor, threshold: float, out: PairDecode) -> bool:
    """hidden [H] of the step. Up to 0, and without a pre-gate: never; 1 and above: always."""
    if threshold <= 0 or not model.has_pre_gate:
        return False
    if threshold < 1:
        value = torch.sigmoid(model.pre_gate(hidden).float()).item()
        out.gate_margin = min(out.gate_margin, abs(value - threshold))
        if value >= threshold:
            return False
    out.skipped += 1
    return True


def _second_token(model: PipoModel, hidden: Tensor, next_ids: list[int], threshold: float, out: PairDecode) -> int:
    draft = model.draft_hidden(hidden, torch.tensor([next_ids]))
    confidence = None
    if threshold >= 0:
        confidence = torch.sigmoid(model.confidence_head(hidden[0, -1], draft[0, -1]).float()).item()
        if threshold > 0:
            out.gate_margin = min(out.gate_margin, abs(confidence - threshold))
    out.confidences.append(confidence)
    return _pick_unpadded(model, draft[0, -1], out) if gate_accepts(confidence, threshold) else out.pad


def _pick_unpadded(model: PipoModel, hidden: Tensor, out: PairDecode) -> int:
    logits = _real_logits(model, hidden)
    out.pad_wins += int(logits.argmax().item() == out.pad)
    logits[out.pad] = float("-inf")
    return _pick(logits, out)


def _pick(logits: Tensor, out: PairDecode | PlainDecode) -> int:
    best = logits.topk(2)
    out.logit_margin = min(out.logit_margin, (best.values[0] - best.values[1]).item())
    return best.indices[0].item()


def _real_logits(model: PipoModel, hidden: Tensor) -> Tensor:
    """hidden [H] → logits [real vocabulary], fp32"""
    return model.logits(hidden).float()[: real_vocab_size(model.config)]
