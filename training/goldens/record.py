"""What one checkpoint must compute: teacher-forced passes and greedy decodes, chosen to be unambiguous."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from goldens.tables import GoldenText
from pipo.config import pad_token_id, real_vocab_size
from pipo.decoding import PairDecode, PlainDecode, decode_pairs, decode_plain, pad_to_even
from pipo.inspection import inspect_pairs, inspect_plain, top_tokens
from pipo.modeling import PairOutput, PipoModel

TOP = 8
STEPS = 24
# Prompts are drawn until every order and every choice stands clear of fp32 rounding.
MIN_TOP_GAP = 1e-4
MIN_LOGIT_MARGIN = 1e-2
MIN_GATE_MARGIN = 5e-3
PAD_SHARE = 0.12


class PairCase(NamedTuple):
    """One recorded pair decode; `pre_gate_threshold` is None where no pre-gate is meant to matter."""

    prompt: list[int]
    threshold: float
    stops: tuple[int, ...]
    run: PairDecode
    pre_gate_threshold: float | None = None


def record(
    model: PipoModel,
    prompt_lengths: tuple[int, ...],
    seed: int,
    text: GoldenText,
    variety: int = 1,
    top_gap: float = MIN_TOP_GAP,
) -> dict:
    """Fills `text` with everything and returns what `golden.json` holds (no hidden vectors).

    Ungated and plain decodes have at least `variety` different tokens; best logits are `top_gap` apart.
    """
    generator = torch.Generator().manual_seed(seed + 1000)
    document: dict = {"inspect": [], "decode": []}
    for case, length in enumerate(prompt_lengths):
        if model.is_pair_model:
            ids = _clear_prompt(model, length, generator, True, top_gap)
            _pair_text(text, f"pair.{case}", model, ids)
            document["inspect"].append({"ids": ids, **inspect_pairs(model, ids, TOP)})
        plain_length = length // 2 if model.is_pair_model else length
        ids = _clear_prompt(model, plain_length, generator, False, top_gap)
        _plain_text(text, f"plain.{case}", model, ids)
        document["inspect"].append({"ids": ids, **inspect_plain(model, ids, TOP)})
    if model.is_pair_model:
        document["decode"] += _pair_decodes(model, prompt_lengths, generator, text, variety)
    document["decode"] += _plain_decodes(model, prompt_lengths, generator, text, variety)
    return document


def _random_prompt(model: PipoModel, length: int, generator: torch.Generator, pairs: bool) -> list[int]:
    """Random real ids; in pair mode PAD stands in some odd slots, as in a decoded timeline."""
    real, pad = real_vocab_size(model.config), pad_token_id(model.config)
    ids = torch.randint(0, real, (length,), generator=generator)
    ids[ids == pad] = 0
    if pairs:
        chosen = torch.rand(length, generator=generator) < PAD_SHARE
        chosen[::2] = False
        ids[chosen] = pad
    return ids.tolist()


def _clear_prompt(model: PipoModel, length: int, generator: torch.Generator, pairs: bool, gap: float) -> list[int]:
    """A prompt whose every list of best tokens has no near ties, the place after the last one included."""
    for _ in range(500):
        ids = _random_prompt(model, length, generator, pairs)
        if _smallest_gap(model, ids, pairs) > gap:
            return ids
    raise RuntimeError("no prompt without near ties in 500 draws; lower the gap")


@torch.no_grad()
def _smallest_gap(model: PipoModel, ids: list[int], pairs: bool) -> float:
    if pairs:
        out = model.pair_forward(torch.tensor([pad_to_even(ids, pad_token_id(model.config))]))
        logits = torch.cat([out.first_logits[0], out.second_logits[0]])
    else:
        logits = model(torch.tensor([ids]))[0]
    values = top_tokens(model, logits, TOP + 1)[1]
    return (values[:, :-1] - values[:, 1:]).min().item()


@torch.no_grad()
def _pair_text(text: GoldenText, name: str, model: PipoModel, ids: list[int]) -> None:
    padded = pad_to_even(ids, pad_token_id(model.config))
    out: PairOutput = model.pair_forward(torch.tensor([padded]))
    text.ints(f"{name}.ids", padded)
    text.floats(f"{name}.hidden", out.hidden[0])
    text.floats(f"{name}.draft_hidden", out.draft_hidden[0])
    _top_text(text, f"{name}.first", model, out.first_logits[0])
    _top_text(text, f"{name}.second", model, out.second_logits[0])
    text.floats(f"{name}.confidence", torch.sigmoid(out.confidence_logits[0]))
    if model.has_pre_gate:
        text.floats(f"{name}.pre_gate", torch.sigmoid(model.pre_gate(out.hidden[0])[:, 0]))


@torch.no_grad()
def _plain_text(text: GoldenText, name: str, model: PipoModel, ids: list[int]) -> None:
    hidden = model.plain_hidden(torch.tensor([ids]))[0]
    text.ints(f"{name}.ids", ids)
    text.floats(f"{name}.hidden", hidden)
    _top_text(text, f"{name}.top", model, model.logits(hidden))


def _top_text(text: GoldenText, name: str, model: PipoModel, logits: Tensor) -> None:
    ids, values = top_tokens(model, logits, TOP)
    text.ints(f"{name}_ids", ids)
    text.floats(f"{name}_logits", values)


def _pair_decodes(
    model: PipoModel, lengths: tuple[int, ...], generator: torch.Generator, text: GoldenText, variety: int
) -> list:
    """Every meaning of the threshold over one even and one odd prompt, then both places of a stop id.

    With a pre-gate, every meaning of its threshold follows, over prompts of the same lengths.
    """
    cases = []
    for length in lengths:
        cases += _clear_pair_runs(model, length, generator, variety)
    cases += _stopped_runs(model, cases)
    if model.has_pre_gate:
        for length in lengths:
            cases += _pre_gated_runs(model, length, generator)
    for number, (prompt, threshold, stops, run, pre_gate_threshold) in enumerate(cases):
        name = f"decode.{number}"
        text.ints(f"{name}.prompt", prompt)
        text.floats(f"{name}.threshold", [threshold])
        if pre_gate_threshold is not None:
            text.floats(f"{name}.pre_gate_threshold", [pre_gate_threshold])
            text.ints(f"{name}.skipped", [run.skipped])
        text.ints(f"{name}.stop_ids", list(stops))
        text.ints(f"{name}.slots", run.slots)
        text.ints(f"{name}.tokens", run.tokens)
        text.floats(f"{name}.confidence", [-1.0 if c is None else c for c in run.confidences])
        text.ints(f"{name}.stopped", [int(run.stopped)])
    return [_pair_document(case) for case in cases]


def _clear_pair_runs(model: PipoModel, length: int, generator: torch.Generator, variety: int) -> list[PairCase]:
    """Decodes of one prompt at thresholds −1, 0, one that splits its steps, and 1; PAD would win at times."""
    for _ in range(500):
        prompt = _random_prompt(model, length, generator, pairs=True)
        ungated = decode_pairs(model, prompt, 0.0, STEPS)
        if not _is_clear(ungated) or not ungated.pad_wins or len(set(ungated.tokens)) < variety:
            continue
        middle = round(sorted(ungated.confidences)[STEPS // 2], 2)
        cases = [PairCase(prompt, t, (), decode_pairs(model, prompt, t, STEPS)) for t in (-1.0, 0.0, middle, 1.0)]
        gated = _pads(cases[2].run)
        if 0.25 * STEPS <= gated <= 0.75 * STEPS and all(_is_clear(case.run) for case in cases):
            return cases
    raise RuntimeError("no prompt with clear decisions in 500 draws; lower the margins")


def _stopped_runs(model: PipoModel, cases: list[PairCase]) -> list[PairCase]:
    """The gated case again, stopped by one of its own first tokens, then by one of its second tokens."""
    prompt, threshold, _, run, _ = cases[2]
    first = next(s for i, s in enumerate(run.slots) if i >= 8 and i % 2 == 0 and s not in run.slots[:i])
    second = next(s for i, s in enumerate(run.slots) if i >= 9 and i % 2 and s not in run.slots[:i])
    return [
        PairCase(prompt, threshold, (s,), decode_pairs(model, prompt, threshold, STEPS, (s,))) for s in (first, second)
    ]


def _pre_gated_runs(model: PipoModel, length: int, generator: torch.Generator) -> list[PairCase]:
    """Decodes of one prompt behind a pre-gate: no gate, one that splits what is left; then one that skips all."""
    settings = ((0.0, 0.45), (0.5, 0.45), (0.0, 1.0))
    for _ in range(500):
        prompt = _random_prompt(model, length, generator, pairs=True)
        cases = [PairCase(prompt, t, (), decode_pairs(model, prompt, t, STEPS, (), pre), pre) for t, pre in settings]
        gated = cases[1].run
        outcomes = (gated.skipped, _pads(gated) - gated.skipped, STEPS - _pads(gated))
        if min(outcomes) >= STEPS // 6 and all(_is_clear(case.run) for case in cases):
            return cases
    raise RuntimeError("no prompt with clear decisions in 500 draws; lower the margins")


def _plain_decodes(
    model: PipoModel, lengths: tuple[int, ...], generator: torch.Generator, text: GoldenText, variety: int
) -> list:
    cases = []
    for number, length in enumerate(lengths):
        prompt, run = _clear_plain_run(model, length, generator, variety)
        text.ints(f"plain_decode.{number}.prompt", prompt)
        text.ints(f"plain_decode.{number}.tokens", run.tokens)
        cases.append({"mode": "plain", "prompt": prompt, "tokens": run.tokens})
    return cases


def _clear_plain_run(
    model: PipoModel, length: int, generator: torch.Generator, variety: int
) -> tuple[list[int], PlainDecode]:
    """PAD must not come up: whether plain decoding may produce it is the caller's business."""
    pad = pad_token_id(model.config)
    for _ in range(500):
        prompt = _random_prompt(model, length, generator, pairs=False)
        run = decode_plain(model, prompt, STEPS)
        if _is_clear(run) and pad not in run.tokens and len(set(run.tokens)) >= variety:
            return prompt, run
    raise RuntimeError("no prompt with clear decisions in 500 draws; lower the margins")


def _is_clear(run: PairDecode | PlainDecode) -> bool:
    gate = getattr(run, "gate_margin", float("inf"))
    return run.logit_margin > MIN_LOGIT_MARGIN and gate > MIN_GATE_MARGIN


def _pads(run: PairDecode) -> int:
    return run.slots[1::2].count(run.pad)


def _pair_document(case: PairCase) -> dict:
    prompt, threshold, stops, run, pre_gate_threshold = case
    pre_gate = {} if pre_gate_threshold is None else {"preGateThreshold": pre_gate_threshold, "skipped": run.skipped}
    return {
        "mode": "pair",
        "prompt": prompt,
        "threshold": threshold,
        **pre_gate,
        "stopIds": list(stops),
        "slots": run.slots,
        "tokens": run.tokens,
        "confidences": [None if c is None else round(c, 7) for c in run.confidences],
        "stopped": run.stopped,
    }
