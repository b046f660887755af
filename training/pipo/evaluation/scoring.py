"""Teacher-forced scores: how probable the true tokens are, and what the draft head and the gate make of them.

A case is a prompt and the tokens that follow it. A plain model reads them as they are. A pair model reads the prompt
in pairs and what follows either in pairs, too, or as one token and PAD per step, which is what it writes at threshold
1. In each way every token that follows is predicted exactly once, so the mean negative log-likelihoods compare.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from pipo.batches import FilePicker, TextFile
from pipo.config import pad_token_id, real_vocab_size
from pipo.decoding import pad_to_even
from pipo.fim import Sample, Sampler
from pipo.modeling import PipoModel

BATCH_ROWS = 16
TEXT_TOKENS = 512  # of plain text per case: the first half is read, the second half is predicted
SLOT_MODES = ("pairs", "single")


@dataclass(frozen=True)
class PairScores:
    """One entry per predicted pair of all cases.

    row                index of the case
    first_nll          of the true first token
    second_nll         of the true second token; nan where that is PAD
    confidence         of the gate, as it would decide in this place
    draft_right        whether the best second token is the true one
    draft_probability  of the best second token
    first_probability  of the best first token
    pre_gate           logit of the pre-gate; nan for models without one
    """

    row: Tensor
    first_nll: Tensor
    second_nll: Tensor
    confidence: Tensor
    draft_right: Tensor
    draft_probability: Tensor
    first_probability: Tensor
    pre_gate: Tensor

    def where(self, kept: Tensor) -> PairScores:
        return PairScores(*(getattr(self, field.name)[kept] for field in fields(self)))

    def with_second(self) -> PairScores:
        """The pairs whose second token is a true token."""
        return self.where(~self.second_nll.isnan())


def draw_texts(files: list[TextFile], sampler: Sampler, count: int, seed: int) -> list[Sample]:
    """Stretches of files of one language from a line's start; the response is the second half."""
    source, picker, samples = random.Random(f"{seed}/text/{files[0].language}"), FilePicker(files), []
    while len(samples) < count:
        file = picker.pick(source)
        start = file.text.rfind("\n", 0, source.randrange(len(file.text))) + 1
        ids = [*sampler.header(file.name), *sampler.encode(file.text[start : start + TEXT_TOKENS * 12])][:TEXT_TOKENS]
        if len(ids) >= TEXT_TOKENS // 4:
            samples.append(Sample(ids, len(ids) // 4 * 2))
    return samples


def slots_of(sample: Sample, pad: int, mode: str) -> tuple[list[int], int]:
    """A pair model's sequence and where the response starts in it; both even."""
    prompt, response = pad_to_even(sample.ids[: sample.response_start], pad), sample.ids[sample.response_start :]
    if mode == "single":
        response = [slot for token in response for slot in (token, pad)]
    return [*prompt, *pad_to_even(response, pad)], len(prompt)


def plain_nll(model: PipoModel, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of every response token of all samples, and the index of its sample."""
    device, known = model.model.embed_tokens.weight.device, real_vocab_size(model.config)
    parts = []
    with torch.inference_mode():
        for part in batches([len(sample.ids) for sample in samples]):
            ids = torch.tensor(aligned([samples[i].ids for i in part], 0), device=device)
            starts = torch.tensor([samples[i].response_start for i in part], device=device)
            ends = torch.tensor([len(samples[i].ids) for i in part], device=device)
            places = torch.arange(1, ids.shape[1], device=device)
            wanted = (places >= starts[:, None]) & (places < ends[:, None])
            logits = model.logits(model.plain_hidden(ids)[:, :-1][wanted])[:, :known].float()
            rows = torch.tensor(part, device=device)[:, None].expand_as(wanted)[wanted]
            parts.append((F.cross_entropy(logits, ids[:, 1:][wanted], reduction="none").cpu(), rows.cpu()))
    nll, rows = (torch.cat(column) for column in zip(*parts, strict=True))
    return nll, rows


def pair_scores(
    model: PipoModel, sequences: list[list[int]], starts: list[int], draft_sees_prompt: bool = True
) -> PairScores:
    """Scores of every pair from slot `starts[i]` on of the slot sequences, in the order of the sequences."""
    parts = []
    with torch.inference_mode():
        for part in batches([len(slots) for slots in sequences]):
            parts.append(_batch_scores(model, sequences, starts, part, draft_sees_prompt))
    joined = PairScores(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
    return joined.where(torch.argsort(joined.row, stable=True))


def batches(lengths: list[int]) -> list[list[int]]:
    """Indices in groups of like length."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return [order[i : i + BATCH_ROWS] for i in range(0, len(order), BATCH_ROWS)]


def aligned(rows: list[list[int]], filler: int) -> list[list[int]]:
    """Rows of equal length; the filler stands behind their ends, where a causal model's earlier rows do not see it."""
    longest = max(map(len, rows))
    return [row + [filler] * (longest - len(row)) for row in rows]


def _batch_scores(
    model: PipoModel, sequences: list[list[int]], starts: list[int], part: list[int], draft_sees_prompt: bool
) -> tuple[Tensor, ...]:
    device, pad = model.model.embed_tokens.weight.device, pad_token_id(model.config)
    ids = torch.tensor(aligned([sequences[i] for i in part], pad), device=device)
    counts = torch.tensor([(len(sequences[i]) - starts[i]) // 2 for i in part], device=device)
    before = torch.tensor([starts[i] // 2 - 1 for i in part], device=device)  # the row that predicts the first pair
    steps = torch.arange(int(counts.max()), device=device)
    index = (before[:, None] + steps).clamp(max=ids.shape[1] // 2 - 2)
    wanted = steps < counts[:, None]

    everything = model.pair_hidden(ids)[:, :-1]
    hidden, first_ids, second_ids = (
        _rows(everything, index),
        ids[:, 2::2].gather(1, index),
        ids[:, 3::2].gather(1, index),
    )
    if draft_sees_prompt:
        draft = _rows(model.draft_hidden(everything, ids[:, 2::2]), index)
    else:  # positions are relative, so rows that start behind the prompt are rows that do not see it
        draft = model.draft_hidden(hidden, first_ids)
    hidden, draft, first_ids, second_ids = hidden[wanted], draft[wanted], first_ids[wanted], second_ids[wanted]
    first, second = _logprobs(model, hidden, pad), _logprobs(model, draft, pad)
    best = second.max(-1)
    second_nll = -second.gather(1, second_ids[:, None])[:, 0]
    return (
        torch.tensor(part, device=device)[:, None].expand_as(wanted)[wanted],
        -first.gather(1, first_ids[:, None])[:, 0],
        second_nll.masked_fill(second_ids == pad, float("nan")),
        torch.sigmoid(model.confidence_head(hidden, draft).float()),
        best.indices == second_ids,
        best.values.exp(),
        first.max(-1).values.exp(),
        model.pre_gate(hidden)[:, 0].float()
        if hasattr(model, "pre_gate")
        else torch.full_like(second_nll, float("nan")),
    )


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """values [B, N, H], index [B, n] → [B, n, H]"""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _logprobs(model: PipoModel, hidden: Tensor, pad: int) -> Tensor:
    """hidden [n, H] → log-probabilities [n, real vocabulary], PAD never being written."""
    logits = model.logits(hidden)[:, : real_vocab_size(model.config)].float()
    logits[:, pad] = float("-inf")
    return logits.log_softmax(-1)
