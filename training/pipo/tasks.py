"""Small questions with one checkable answer, and the reasoning that leads to it, in chat format.

    python -m pipo.tasks --count 20

prints tasks for reading; `pipo.task_kinds` holds what they ask.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from pipo.fim import Sample
from pipo.task_kinds import MAKERS

HELD_OUT_SHARE = 16  # one question in this many is never trained on

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(maker.__name__ for maker in makers) for group, makers in MAKERS.items()
}
KINDS: tuple[str, ...] = tuple(kind for kinds in GROUPS.values() for kind in kinds)
MAKER_OF = {maker.__name__: maker for makers in MAKERS.values() for maker in makers}


@dataclass(frozen=True)
class Task:
    kind: str
    question: str
    thinking: str
    answer: str


def is_held_out(question: str) -> bool:
    """Whether a question is kept for evaluation: decided by its numbers and quoted words, whatever words surround
    them, so that no training question asks the same in another wording."""
    content = " ".join(re.findall(r'\d+|"[^"]*"', question))
    return hashlib.sha256(content.encode()).digest()[0] % HELD_OUT_SHARE == 0


def make_task(source: random.Random, kinds: Sequence[str] = KINDS, held_out: bool = False) -> Task:
    """Draws a kind, then a task of that kind from the training questions or from the held-out ones."""
    kind = source.choice(kinds)
    while True:
        made = MAKER_OF[kind](source)
        if is_held_out(made.question) == held_out:
            return Task(kind, made.question, made.thinking, made.answer)


def is_right(task: Task, reply: str) -> bool:
    """Whether `reply`, the text generated behind the prompt's `<think>`, ends its thinking and gives the answer."""
    _, closed, said = reply.partition("</think>")
    return bool(closed) and said.strip() == task.answer


def chat_prompt(tokenizer: Tokenizer, question: str) -> list[int]:
    """Token ids of `<|im_start|>user\\n{question}<|im_end|>\\n<|im_start|>assistant\\n<think>\\n`."""

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    start, end, think = (tokenizer.token_to_id(name) for name in ("<|im_start|>", "<|im_end|>", "<think>"))
    user, assistant = encode(f"user\n{question}"), encode("assistant\n")
    return [start, *user, end, *encode("\n"), start, *assistant, think, *encode("\n")]


def chat_sample(tokenizer: Tokenizer, task: Task) -> Sample:
    """The prompt, then as the response the thinking, the answer and the end token.

    Both are encoded by themselves: at inference, too, the prompt's last token is there before the response's first.
    """
    prompt = chat_prompt(tokenizer, task.question)
    response = tokenizer.encode(f"{task.thinking}\n</think>\n\n{task.answer}", add_special_tokens=False).ids
    return Sample([*prompt, *response, tokenizer.token_to_id("<|im_end|>")], len(prompt), prompt_weight=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = random.Random(arguments.seed)
    for _ in range(arguments.count):
        task = make_task(source, held_out=arguments.held_out)
        print(f"# {task.kind}\n{task.question}\n<think>\n{task.thinking}\n</think>\n\n{task.answer}\n")


if __name__ == "__main__":
    main()
