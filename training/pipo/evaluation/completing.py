"""Completions decoded from cursors and from names to copy, and how they compare with what really stands there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from tokenizers import Tokenizer

from pipo.config import pad_token_id
from pipo.decoding import pad_to_even
from pipo.evaluation import copying, cursors
from pipo.evaluation.copying import CopyTask, is_copied
from pipo.evaluation.cursors import Cursor, compared_text
from pipo.evaluation.family import Member, generate, load_member
from pipo.evaluation.scoring import pair_scores
from pipo.evaluation.statistics import edit_similarity, ranking_quality, share, standard_error
from pipo.fim import SpecialIds
from pipo.generation import Generation

SURENESS_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Completion:
    """One decoded completion; `exact` and `similarity` hold it against the true text.

    confidences    of the decode steps that asked the gate
    probabilities  that the model gave to the tokens that it wrote, where that was asked for
    """

    text: str
    exact: bool
    similarity: float
    steps: int
    accepted: int
    confidences: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()


def line_break_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """All tokens that end a line."""
    return frozenset(i for i in range(tokenizer.get_vocab_size()) if "\n" in tokenizer.decode([i]))


def complete(
    member: Member,
    device: str,
    tokenizer: Tokenizer,
    tasks: Sequence[Cursor],
    threshold: float | None,
    **options: object,
) -> list[Completion]:
    """Greedy completions of cursors of one kind: up to the line's end, or up to where the model ends."""
    generations = _generate(member, device, tokenizer, tasks, threshold, **options)
    return [_compare(tokenizer, task, made) for task, made in zip(tasks, generations, strict=True)]


def complete_surely(
    member: Member, device: str, tokenizer: Tokenizer, tasks: Sequence[Cursor], threshold: float | None
) -> list[Completion]:
    """`complete` with a pair model, and the probabilities of the written tokens."""
    generations = _generate(member, device, tokenizer, tasks, threshold)
    model = load_member(member, device)
    pad = pad_token_id(model.config)
    prompts = [pad_to_even(task.prompt, pad) for task in tasks]
    slots = [[*p, *pad_to_even(made.slots, pad)] for p, made in zip(prompts, generations, strict=True)]
    scores = pair_scores(model, slots, [len(prompt) for prompt in prompts])
    completions = []
    for row, (task, made) in enumerate(zip(tasks, generations, strict=True)):
        steps = torch.stack([scores.first_nll, scores.second_nll], dim=1)[scores.row == row].flatten()
        probabilities = torch.exp(-steps[~steps.isnan()]).tolist()
        completions.append(replace(_compare(tokenizer, task, made), probabilities=tuple(probabilities)))
    return completions


def _generate(
    member: Member,
    device: str,
    tokenizer: Tokenizer,
    tasks: Sequence[Cursor],
    threshold: float | None,
    **options: object,
) -> list[Generation]:
    kind, stops = tasks[0].kind, {SpecialIds.of(tokenizer).end}
    if kind == "line":
        stops |= line_break_ids(tokenizer)
    prompts = [task.prompt for task in tasks]
    return generate(member, device, prompts, threshold, cursors.MAX_TOKENS[kind], tuple(stops), **options)


def _compare(tokenizer: Tokenizer, task: Cursor, made: Generation) -> Completion:
    text = compared_text(task.kind, tokenizer.decode(made.tokens, skip_special_tokens=True), task.expected)
    expected = compared_text(task.kind, task.expected, task.expected)
    return Completion(
        text=text,
        exact=text == expected,
        similarity=edit_similarity(text, expected),
        steps=made.steps,
        accepted=made.accepted,
        confidences=tuple(c for c in made.confidences if c is not None),
    )


def completion_scores(completions: Sequence[Completion]) -> dict[str, float | int | None]:
    """Exact match with its standard error, edit similarity, acceptance rate and tokens per step."""
    steps, accepted = sum(c.steps for c in completions), sum(c.accepted for c in completions)
    exact = share([c.exact for c in completions])
    return {
        "count": len(completions),
        "exactMatch": exact,
        "standardError": standard_error(exact, len(completions)),
        "editSimilarity": sum(c.similarity for c in completions) / len(completions),
        "acceptanceRate": accepted / max(steps, 1),
        "tokensPerStep": 1 + accepted / max(steps, 1),
    }


def copy_names(
    member: Member, device: str, tokenizer: Tokenizer, tasks: Sequence[CopyTask], threshold: float | None
) -> list[bool]:
    """Which names are written to their end, exactly."""
    stops = (SpecialIds.of(tokenizer).end,)
    made = generate(member, device, [task.prompt for task in tasks], threshold, copying.MAX_TOKENS, stops)
    texts = (tokenizer.decode(generation.tokens, skip_special_tokens=True) for generation in made)
    return [is_copied(task, text) for task, text in zip(tasks, texts, strict=True)]


def sureness_of(completion: Completion) -> dict[str, float | None]:
    """What a suggestion's own numbers say: the gate's confidence in its steps, the probability of its tokens."""
    confidences, probabilities = completion.confidences, completion.probabilities
    return {
        "lowestConfidence": min(confidences, default=None),
        "meanConfidence": sum(confidences) / len(confidences) if confidences else None,
        "tokenProbability": _geometric_mean(probabilities) if probabilities else None,
    }


def sureness_table(completions: Sequence[Completion]) -> dict[str, dict[str, object]]:
    """Per signal: exact match of the suggestions that have a text, by the signal's height.

    `rankingQuality` is how often an exactly right suggestion has the higher value than another one.
    """
    suggestions = [(sureness_of(c), c.exact) for c in completions if c.text.strip()]
    table: dict[str, dict[str, object]] = {}
    for signal in ("lowestConfidence", "meanConfidence", "tokenProbability"):
        pairs = [(values[signal], exact) for values, exact in suggestions if values[signal] is not None]
        table[signal] = {
            "count": len(pairs),
            "buckets": [_bucket(pairs, low, high) for low, high in pairwise(SURENESS_EDGES)],
            "rankingQuality": ranking_quality(torch.tensor([v for v, _ in pairs]), torch.tensor([e for _, e in pairs])),
        }
    return table


def _bucket(pairs: list[tuple[float, bool]], low: float, high: float) -> dict[str, float | int | None]:
    inside = [exact for value, exact in pairs if low <= value < high or (value == high == SURENESS_EDGES[-1])]
    exact = share(inside)
    return {
        "from": low,
        "to": high,
        "count": len(inside),
        "exactMatch": exact,
        "standardError": standard_error(exact, len(inside)),
    }


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(value, 1e-12)) for value in values) / len(values))
