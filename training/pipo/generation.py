"""Batched incremental decoding in pair mode and in plain mode; `decoding.py` is its meaning, in one row and slowly.

Prompts of a batch are aligned at their ends. That changes nothing for a row: filler positions are hidden from
attention, and a gated-delta layer that reads zeros writes nothing, so its state is still zero where the prompt
starts. Positions count from each row's own start. Rows that are done leave the batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from pipo.config import pad_token_id, real_vocab_size
from pipo.decoding import gate_accepts, pad_to_even
from pipo.families import family_of
from pipo.modeling import PipoModel


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: `temperature` 0 takes the best one, `top_k` 0 and `top_p` 1 keep every token.

    `presence` is subtracted from the logits of tokens that the row has already produced, PAD excepted. Both
    cut-offs are taken on the whole vocabulary's probabilities. The draws of a prompt depend on the seed and on its
    place among the prompts, not on how rows are batched.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    presence: float = 0.0
    seed: int = 0


@dataclass
class Generation:
    """What one prompt gave.

    slots        generated ids, PADs included; a step that ends the row with its first token has no second slot
    confidences  one per step, None where the confidence head was not evaluated
    accepted     steps whose second token was kept
    stopped      whether a stop id ended the row; it is then the last slot
    """

    pad: int | None
    slots: list[int] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)
    accepted: int = 0
    steps: int = 0
    stopped: bool = False

    @property
    def tokens(self) -> list[int]:
        return [slot for slot in self.slots if slot != self.pad]


def generate_pairs(
    model: PipoModel,
    prompts: list[list[int]],
    threshold: float,
    max_tokens: int,
    stop_ids: tuple[int, ...],
    sampling: Sampling = Sampling(),  # noqa: B008 (immutable)
    draft_sees_prompt: bool = True,
    rows: int = 32,
    random_gate: float | None = None,
) -> list[Generation]:
    """Decodes every prompt in pair mode, `rows` of them at a time; results in the order of the prompts.

    A row ends with a stop id or after `max_tokens` tokens, PADs not counted. `draft_sees_prompt=False` keeps the
    prompt's rows, all but its last pair's, out of the draft head's attention, as engines that skip the draft head
    in prefill do. With `random_gate` a coin that falls so often decides below threshold 1, not the gate: what a gate
    must beat. Raises ValueError for an empty prompt.
    """
    pad = pad_token_id(model.config)
    results = [Generation(pad) for _ in prompts]
    padded = [pad_to_even(prompt, pad) for prompt in prompts]
    draws = _Draws(model, len(prompts), max_tokens, sampling, banned=pad)
    with torch.inference_mode():
        for part in _batches(padded, rows):
            loop = _PairLoop(model, [padded[i] for i in part], threshold, draft_sees_prompt, random_gate)
            _run(loop, [results[i] for i in part], draws.of(part), max_tokens, stop_ids)
    return results


def generate_plain(
    model: PipoModel,
    prompts: list[list[int]],
    max_tokens: int,
    stop_ids: tuple[int, ...],
    sampling: Sampling = Sampling(),  # noqa: B008 (immutable)
    rows: int = 32,
) -> list[Generation]:
    """The same, one token per step, with a plain model; nothing is banned but the rows beyond the real vocabulary."""
    results = [Generation(None) for _ in prompts]
    draws = _Draws(model, len(prompts), max_tokens, sampling, banned=None)
    with torch.inference_mode():
        for part in _batches(prompts, rows):
            loop = _PlainLoop(model, [prompts[i] for i in part])
            _run(loop, [results[i] for i in part], draws.of(part), max_tokens, stop_ids)
    return results


def _batches(prompts: list[list[int]], rows: int) -> list[list[int]]:
    """Indices of the prompts in groups of like length."""
    if not all(prompts):
        raise ValueError("a prompt is empty; the first token of a text is never predicted")
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    return [order[i : i + rows] for i in range(0, len(order), rows)]


def _run(loop: _PairLoop | _PlainLoop, results: list[Generation], draws: _Draws, max_tokens: int, stop_ids) -> None:
    live = list(range(len(results)))
    while max_tokens > 0:
        emitted, confidences = loop.step(draws)
        for row, slots, confidence in zip(live, emitted, confidences, strict=True):
            _append(results[row], slots, confidence, max_tokens, stop_ids)
        kept = [k for k, row in enumerate(live) if not _is_done(results[row], max_tokens)]
        if not kept:
            return
        if len(kept) < len(live):
            live = [live[k] for k in kept]
            index = torch.tensor(kept, device=loop.device)
            loop.keep(index)
            draws.keep(index)
        loop.advance()


def _append(result: Generation, slots: list[int], confidence: float | None, max_tokens: int, stop_ids) -> None:
    """Takes a step's slots up to a stop id or the limit; a confidence behind a final first token was never asked."""
    result.steps += 1
    produced = len(result.tokens)
    for place, slot in enumerate(slots):
        result.slots.append(slot)
        produced += slot != result.pad
        result.accepted += place == 1 and slot != result.pad
        result.stopped = slot in stop_ids
        if result.stopped or produced == max_tokens:
            break
    result.confidences.append(confidence if place == 1 else None)


def _is_done(result: Generation, max_tokens: int) -> bool:
    return result.stopped or len(result.tokens) >= max_tokens


class _Draws:
    """Picks tokens for the rows of a batch: the best ones, or by one uniform number per row and slot."""

    def __init__(self, model: PipoModel, prompts: int, max_tokens: int, sampling: Sampling, banned: int | None) -> None:
        self.sampling, self.banned, self.vocabulary = sampling, banned, real_vocab_size(model.config)
        device = model.model.embed_tokens.weight.device
        generator = torch.Generator().manual_seed(sampling.seed)
        slots = 2 * max_tokens if sampling.temperature > 0 else 0
        self.uniform = torch.rand(prompts, slots, generator=generator).to(device)
        self.coins = torch.rand(prompts, max_tokens, generator=generator).to(device)  # one per step
        remembered = self.vocabulary if sampling.presence else 0
        self.produced = torch.zeros(prompts, remembered, dtype=torch.bool, device=device)

    def of(self, prompts: list[int]) -> _Draws:
        """The draws of a batch of these prompts, from their first slot on."""
        part = copy.copy(self)
        part.keep(torch.tensor(prompts, device=self.uniform.device))
        return part

    def keep(self, rows: Tensor) -> None:
        self.uniform, self.coins, self.produced = self.uniform[rows], self.coins[rows], self.produced[rows]

    def pick(self, logits: Tensor, slot: int) -> Tensor:
        """logits [B, V] → ids [B]"""
        logits = logits[:, : self.vocabulary].float()
        if self.banned is not None:
            logits[:, self.banned] = float("-inf")
        if self.sampling.presence:
            logits = logits - self.sampling.presence * self.produced
        if self.sampling.temperature <= 0:
            return logits.argmax(-1)
        return _draw(logits / self.sampling.temperature, self.uniform[:, slot], self.sampling)

    def remember(self, ids: Tensor, accepted: Tensor | None = None) -> None:
        """Marks ids [B] as produced, in the `accepted` rows only where that is given."""
        if self.sampling.presence:
            seen = self.produced.scatter(1, ids[:, None], True)
            self.produced = seen if accepted is None else torch.where(accepted[:, None], seen, self.produced)


def _draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """Inverse transform sampling: logits [B, V], uniform [B] in [0, 1) → ids [B]."""
    count = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    values, ids = logits.topk(count, dim=-1)
    probabilities = (values - logits.logsumexp(-1, keepdim=True)).exp()
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    sums = probabilities.cumsum(-1)
    chosen = (sums <= uniform[:, None] * sums[:, -1:]).sum(-1)
    # Rounding may put the number at the very end of the sums: behind the last kept token.
    chosen = torch.minimum(chosen, (probabilities > 0).sum(-1) - 1)
    return ids.gather(1, chosen[:, None])[:, 0]


class _Layers:
    """Cached rows of a stack of layers: which of them are real, and the position of each row's next one."""

    def __init__(self, config, positions: Tensor) -> None:
        self.cache = DynamicCache(config=config)
        self.positions = positions  # [B]
        self.real = torch.zeros(len(positions), 0, dtype=torch.bool, device=positions.device)  # [B, cached]

    def keep(self, rows: Tensor) -> None:
        self.cache.reorder_cache(rows)
        self.positions, self.real = self.positions[rows], self.real[rows]

    def grow(self, real: Tensor) -> tuple[Tensor, Tensor | None]:
        """Adds rows, real [B, n], filler in front → their positions [B, n], and what their queries may not see.

        The mask [B, 1, n, cached + n] is added to scores. Without it, a query sees all.
        """
        count = real.shape[1]
        self.real = torch.cat([self.real, real], dim=1)
        offsets = real.cumsum(1)
        positions = self.positions[:, None] + (offsets - 1).clamp(min=0)
        self.positions = self.positions + offsets[:, -1]
        if count == 1 and bool(self.real.all()):
            return positions, None
        total = self.real.shape[1]
        row = torch.arange(total - count, total, device=real.device)[:, None]
        column = torch.arange(total, device=real.device)
        # A filler row sees itself: a softmax over nothing would be no number.
        seen = (self.real[:, None] & (column <= row)) | (column == row)
        hidden = torch.zeros(seen.shape, device=real.device).masked_fill(~seen, torch.finfo(torch.float32).min)
        return positions, hidden[:, None]


def _backbone_rows(model: PipoModel, layers: _Layers, inputs: Tensor, real: Tensor) -> Tensor:
    """inputs [B, n, H], real [B, n] → hidden [B, n, H]"""
    positions, mask = layers.grow(real)
    attention = None if mask is None else mask.to(inputs.dtype)
    recurrence = None if bool(real.all()) else real
    recurrent = family_of(model.config).recurrent
    out = model.model(
        inputs_embeds=inputs,
        position_ids=positions,
        attention_mask={"full_attention": attention, "linear_attention": recurrence} if recurrent else attention,
        past_key_values=layers.cache,
        use_cache=True,
    )
    return out.last_hidden_state


def _draft_rows(model: PipoModel, layers: _Layers, hidden: Tensor, next_ids: Tensor, real: Tensor) -> Tensor:
    """`DraftHead.forward` with a cache: hidden [B, n, H], next_ids [B, n], real [B, n] → draft hidden [B, n, H]."""
    head = model.mtp
    positions, mask = layers.grow(real)
    x = head.fc(torch.cat([head.pre_fc_norm_embedding(model.embed(next_ids)), head.pre_fc_norm_hidden(hidden)], -1))
    x = head.layers[0](
        x,
        position_embeddings=head.rotary(x, positions),
        attention_mask=None if mask is None else mask.to(x.dtype),
        position_ids=positions,
        past_key_values=layers.cache,
    )
    return head.norm(x)


def _aligned(model: PipoModel, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """ids [B, T] with filler in front, and which of them are real [B, T]."""
    device, longest = model.model.embed_tokens.weight.device, max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    return ids, torch.arange(longest, device=device) >= longest - lengths[:, None]


class _PlainLoop:
    def __init__(self, model: PipoModel, prompts: list[list[int]]) -> None:
        self.model = model
        self.ids, real = _aligned(model, prompts)
        self.device = self.ids.device
        self.backbone = _Layers(model.config, torch.zeros_like(self.ids[:, 0]))
        self.hidden = _backbone_rows(model, self.backbone, model.embed(self.ids), real)[:, -1]
        self.slot = 0

    def step(self, draws: _Draws) -> tuple[list[list[int]], list[None]]:
        self.ids = draws.pick(self.model.logits(self.hidden), self.slot)[:, None]
        draws.remember(self.ids[:, 0])
        self.slot += 1
        return self.ids.tolist(), [None] * len(self.ids)

    def keep(self, rows: Tensor) -> None:
        self.backbone.keep(rows)
        self.ids = self.ids[rows]

    def advance(self) -> None:
        real = torch.ones_like(self.ids, dtype=torch.bool)
        self.hidden = _backbone_rows(self.model, self.backbone, self.model.embed(self.ids), real)[:, -1]


class _PairLoop:
    """The decode step of pair mode; `hidden` [B, H] belongs to the newest pair of every row."""

    def __init__(
        self,
        model: PipoModel,
        prompts: list[list[int]],
        threshold: float,
        draft_sees_prompt: bool,
        random_gate: float | None,
    ) -> None:
        self.model, self.threshold, self.random_gate = model, threshold, random_gate
        self.pad = pad_token_id(model.config)
        self.pair, real = _aligned(model, prompts)
        self.device = self.pair.device
        real = real[:, ::2]
        start = torch.zeros_like(self.pair[:, 0])
        self.backbone = _Layers(model.config, start)
        hidden = _backbone_rows(model, self.backbone, model.compress(self.pair), real)
        self.hidden = hidden[:, -1]
        self.draft = _Layers(model.mtp.config, start)
        if not draft_sees_prompt:
            self.draft.positions = real.sum(1) - 1
        elif threshold < 1 and hidden.shape[1] > 1:
            # What the rows of the prompt give is of no use, only their keys and values are.
            _draft_rows(model, self.draft, hidden[:, :-1], self.pair[:, 2::2], real[:, :-1])
        self.slot = 0

    def step(self, draws: _Draws) -> tuple[list[list[int]], list[float | None]]:
        first = draws.pick(self.model.logits(self.hidden), self.slot)
        draws.remember(first)
        second, confidences = self._second(first, draws)
        self.slot += 2
        self.pair = torch.stack([first, second], dim=1)
        return self.pair.tolist(), confidences

    def _second(self, first: Tensor, draws: _Draws) -> tuple[Tensor, list[float | None]]:
        if self.threshold >= 1:
            return torch.full_like(first, self.pad), [None] * len(first)
        real = torch.ones_like(first[:, None], dtype=torch.bool)
        draft = _draft_rows(self.model, self.draft, self.hidden[:, None], first[:, None], real)[:, 0]
        confidences: list[float | None] = [None] * len(first)
        if self.threshold >= 0:
            confidences = torch.sigmoid(self.model.confidence_head(self.hidden, draft).float()).tolist()
        if self.random_gate is None:
            accepted = torch.tensor([gate_accepts(c, self.threshold) for c in confidences], device=self.device)
        else:
            accepted = draws.coins[:, self.slot // 2] < self.random_gate
        second = draws.pick(self.model.logits(draft), self.slot + 1).masked_fill(~accepted, self.pad)
        draws.remember(second, accepted)
        return second, confidences

    def keep(self, rows: Tensor) -> None:
        self.backbone.keep(rows)
        self.draft.keep(rows)
        self.pair = self.pair[rows]

    def advance(self) -> None:
        real = torch.ones_like(self.pair[:, :1], dtype=torch.bool)
        self.hidden = _backbone_rows(self.model, self.backbone, self.model.compress(self.pair), real)[:, -1]
