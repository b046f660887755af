"""Turns the results of a plan into the rows of `evaluation.json`: numbers only, no wording."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from pipo.evaluation.answers import answer_scores
from pipo.evaluation.choice import Choice
from pipo.evaluation.completing import completion_scores, sureness_table
from pipo.evaluation.copying import VARIANTS
from pipo.evaluation.cursors import KINDS
from pipo.evaluation.family import Member, is_pair_model, parameters
from pipo.evaluation.gate import gate_summary, pre_gate_table
from pipo.evaluation.plan import FIXED_THRESHOLDS, PROMPT_TOKENS, REGULAR, SEED, Plan
from pipo.evaluation.scoring import PairScores
from pipo.evaluation.statistics import share, standard_error

EXAMPLES = 8  # per language


def collect(plan: Plan, choice: Choice | None) -> dict:
    """Everything that was measured; waits for what is still running."""
    family, threshold = plan.family, choice.threshold if choice else None
    report: dict = {
        "settings": settings(plan),
        "models": [
            {
                "name": m.name,
                "directory": m.directory.name,
                "pairs": is_pair_model(m),
                "parameters": parameters(m, plan.device),
            }
            for m in (*family.members, *family.extra)
        ],
        "chosenThreshold": threshold,
        "thresholdReason": choice.reason if choice else None,
        "perplexity": [row for m in (*family.members, *family.extra) for row in perplexity_rows(plan, m)],
        "completion": list(completion_rows(plan, threshold)),
        "copy": list(copy_rows(plan, threshold)),
        "answers": [row for m in family.members for row in answer_rows(plan, m, threshold)],
        "gates": [row for m in family.pair_members for row in gate_rows(plan, m, threshold)],
        "extra": [extra_row(plan, m, threshold) for m in family.extra],
    }
    if family.main:
        report["gate"] = report["gates"][-2]["table"]  # of the model that ships, its draft head seeing the prompt
        report["suggestions"] = suggestion_rows(plan, family.main, threshold)
        report["examples"] = example_rows(plan, family.main, threshold)
    return report


def settings(plan: Plan) -> dict:
    sizes = plan.sizes
    return {
        "precision": "bf16 weights, computed in fp32",
        "languages": plan.languages,
        "heldOutPackages": plan.packages,
        "promptTokens": PROMPT_TOKENS,
        "seed": SEED,
        "cursorsPerLanguage": {kind: sizes.cursors(kind) for kind in KINDS},
        "namesPerLanguage": sizes.names,
        "questions": len(plan.questions),
        "samplesPerQuestion": sizes.samples,
    }


def thresholds_of(plan: Plan, member: Member, default: float | None) -> list[float | None]:
    return sorted({*FIXED_THRESHOLDS, default}) if is_pair_model(member) else [REGULAR]


def perplexity_rows(plan: Plan, member: Member) -> Iterator[dict]:
    """Perplexity per token by language, on plain text and on middles; a pair model in both ways of reading."""
    if not is_pair_model(member):
        nll, rows = plan.plain_scores(member)
        yield from _by_case(plan, {"model": member.name, "mode": "plain"}, nll, rows)
        return
    for mode in ("pairs", "single"):
        scores = plan.pair_scores(member, mode)
        nll = torch.cat([scores.first_nll, scores.second_nll])
        rows = torch.cat([scores.row, scores.row])[~nll.isnan()]
        yield from _by_case(plan, {"model": member.name, "mode": mode}, nll[~nll.isnan()], rows)


def _by_case(plan: Plan, head: dict, nll: Tensor, rows: Tensor) -> Iterator[dict]:
    for part in ("text", "middle"):
        for language in plan.languages:
            cases = [i for i, case in enumerate(plan.cases) if (case.part, case.language) == (part, language)]
            inside = nll[torch.isin(rows, torch.tensor(cases))]
            mean = inside.double().mean().item()
            yield {**head, "part": part, "language": language, "tokens": len(inside), "perplexity": math.exp(mean)}


def completion_rows(plan: Plan, default: float | None) -> Iterator[dict]:
    """One row per model, threshold and kind of cursor; `gate` says what decides about drafts."""
    family = plan.family
    for member in family.members:
        thresholds = thresholds_of(plan, member, default)
        if member is family.main:
            thresholds = sorted({*thresholds, *plan.sweep})
        for threshold in thresholds:
            fixed = threshold in thresholds_of(plan, member, default)
            gate = "confidence" if is_pair_model(member) else None
            for kind in KINDS if fixed else ("line",):
                yield _completion_row(plan, member, kind, threshold, {}, gate=gate, draftSeesPrompt=True)
    for member in family.pair_members:
        options: dict = {"draft_sees_prompt": False}
        yield _completion_row(plan, member, "line", default, options, gate="confidence", draftSeesPrompt=False)
    if family.main:
        yield _completion_row(plan, family.main, "line", default, plan.random_gate, gate="random", draftSeesPrompt=True)


def _completion_row(plan: Plan, member: Member, kind: str, threshold: float | None, options: dict, **head) -> dict:
    made = {language: plan.completions(member, kind, threshold, language, **options) for language in plan.languages}
    by_language = {language: completion_scores(completions) for language, completions in made.items()}
    scores = completion_scores([c for completions in made.values() for c in completions])
    return {
        "model": member.name,
        "kind": kind,
        "threshold": threshold,
        **head,
        **scores,
        "exactMatchByLanguage": {language: row["exactMatch"] for language, row in by_language.items()},
    }


def copy_rows(plan: Plan, default: float | None) -> Iterator[dict]:
    for member in plan.family.members:
        for threshold in thresholds_of(plan, member, default):
            for variant in VARIANTS:
                flags = plan.copied(member, variant, threshold)
                exact = share(flags)
                yield {
                    "model": member.name,
                    "threshold": threshold,
                    "names": variant,
                    "count": len(flags),
                    "exactMatch": exact,
                    "standardError": standard_error(exact, len(flags)),
                }


def answer_rows(plan: Plan, member: Member, default: float | None) -> Iterator[dict]:
    threshold = default if is_pair_model(member) else REGULAR
    for row in answer_scores(*plan.replies(member, threshold)):
        yield {"model": member.name, "threshold": threshold, **row}


def gate_rows(plan: Plan, member: Member, default: float) -> Iterator[dict]:
    """With and without the prompt's rows in the draft head."""
    for sees_prompt in (True, False):
        scores = plan.pair_scores(member, "pairs", sees_prompt).with_second()
        row = {"model": member.name, "draftSeesPrompt": sees_prompt, **gate_summary(scores)}
        accepted = scores.confidence >= default
        row["atDefault"] = {
            "acceptanceRate": share(accepted.tolist()),
            "precision": share(scores.draft_right[accepted].tolist()),
        }
        pre_gate = pre_gate_table(scores, default)
        yield {**row, "preGate": pre_gate} if pre_gate else row


def extra_row(plan: Plan, member: Member, default: float | None) -> dict:
    """The short row of a model that is only compared: perplexity stands with the others'."""
    threshold = default if is_pair_model(member) else REGULAR
    row = {
        "model": member.name,
        "threshold": threshold,
        **completion_scores(plan.completions(member, "line", threshold)),
    }
    if is_pair_model(member):
        row["draftRight"] = share(_drafts(plan, member).draft_right.tolist())
    return row


def _drafts(plan: Plan, member: Member) -> PairScores:
    return plan.pair_scores(member).with_second()


def suggestion_rows(plan: Plan, member: Member, default: float) -> list[dict]:
    """How often the first suggested line is exactly right, and what the suggestion's own numbers say about it."""
    made = {language: plan.sure_lines(member, default, language) for language in plan.languages}
    made["all"] = [completion for completions in list(made.values()) for completion in completions]
    regular: dict[str, dict] = {}
    if plan.family.plain:
        for language in made:
            only = None if language == "all" else language
            regular[language] = completion_scores(plan.completions(plan.family.plain, "line", REGULAR, only))
    return [
        {
            "language": language,
            "model": member.name,
            "threshold": default,
            **completion_scores(completions),
            "plain": regular.get(language),
            "empty": sum(not c.text.strip() for c in completions),
            "sureness": sureness_table(completions),
        }
        for language, completions in made.items()
    ]


def example_rows(plan: Plan, member: Member, default: float) -> list[dict]:
    rows = []
    for language in plan.languages:
        cursors, completions = plan.cursors["line", language], plan.completions(member, "line", default, language)
        every = max(1, len(cursors) // EXAMPLES)
        rows += [
            {"language": language, "typed": cursor.typed, "suggested": made.text, "expected": cursor.expected}
            for cursor, made in list(zip(cursors, completions, strict=True))[::every]
        ]
    return rows
