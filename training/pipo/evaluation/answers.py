"""Generated questions in chat format: how often a reply gives the right answer, once and in several tries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from pipo.evaluation.family import Member, generate
from pipo.evaluation.statistics import pass_at_k, standard_error
from pipo.fim import SpecialIds
from pipo.generation import Sampling
from pipo.tasks import GROUPS, Task, chat_prompt, is_right, make_task

SAMPLES = 4
TEMPERATURE, TOP_P = 0.6, 0.95
MAX_TOKENS = 128  # a right reply has at most some 80
ROWS = 120  # prompts are short: more of them fit a batch


@dataclass(frozen=True)
class Reply:
    """Whether one reply is right, and what it took."""

    group: str
    task: int
    right: bool
    steps: int
    slots: int
    tokens: int


def draw_tasks(count: int, seed: int) -> list[Task]:
    """About `count` different held-out questions, equally many of each group."""
    source, tasks = random.Random(f"{seed}/questions"), []
    for kinds in GROUPS.values():
        seen: dict[str, Task] = {}
        while len(seen) < -(-count // len(GROUPS)):
            task = make_task(source, kinds, held_out=True)
            seen.setdefault(task.question, task)
        tasks += seen.values()
    return tasks


def group_of(task: Task) -> str:
    return next(group for group, kinds in GROUPS.items() if task.kind in kinds)


def answer(
    member: Member,
    device: str,
    tokenizer: Tokenizer,
    tasks: Sequence[Task],
    threshold: float | None,
    samples: int,
    seed: int = 0,
) -> list[Reply]:
    """`samples` drawn replies per question, or the greedy one where `samples` is 0."""
    prompts = [chat_prompt(tokenizer, task.question) for task in tasks for _ in range(max(samples, 1))]
    sampling = Sampling(TEMPERATURE, TOP_P, seed=seed) if samples else Sampling()
    stops = (SpecialIds.of(tokenizer).end,)
    made = generate(member, device, prompts, threshold, MAX_TOKENS, stops, sampling, ROWS)
    replies = []
    for i, generation in enumerate(made):
        place = i // max(samples, 1)
        text = tokenizer.decode(generation.tokens, skip_special_tokens=True)
        right = generation.stopped and is_right(tasks[place], text)
        size = (generation.steps, len(generation.slots), len(generation.tokens))
        replies.append(Reply(group_of(tasks[place]), place, right, *size))
    return replies


def answer_scores(greedy: Sequence[Reply], sampled: Sequence[Reply]) -> list[dict[str, float | int | str | None]]:
    """pass@1 and pass@4 per group and over all; slots and steps are those of the sampled replies."""
    groups = [*dict.fromkeys(reply.group for reply in greedy), None]
    return [_group_scores(group, greedy, sampled) for group in groups]


def _group_scores(group: str | None, greedy: Sequence[Reply], sampled: Sequence[Reply]) -> dict:
    first = [reply for reply in greedy if group in (None, reply.group)]
    drawn = [reply for reply in sampled if group in (None, reply.group)]
    by_task: dict[int, list[bool]] = {}
    for reply in drawn:
        by_task.setdefault(reply.task, []).append(reply.right)

    def passed(k: int) -> float:
        return sum(pass_at_k(len(flags), sum(flags), k) for flags in by_task.values()) / len(by_task)

    most = min(len(flags) for flags in by_task.values())
    greedy_share = sum(reply.right for reply in first) / len(first)
    return {
        "group": group or "all",
        "count": len(by_task),
        "greedyPass1": greedy_share,
        "pass1": passed(1),
        f"pass{most}": passed(most),
        "standardError": standard_error(passed(1), len(by_task)),
        "slots": sum(reply.slots for reply in drawn) / len(drawn),
        "steps": sum(reply.steps for reply in drawn) / len(drawn),
        "tokensPerStep": sum(reply.tokens for reply in drawn) / sum(reply.steps for reply in drawn),
    }
