"""Conversations as fine-tuning rows: one conversation a row, only the last answer is learnt.

A file holds one JSON object per line: `{"messages": [{"role": "user", "content": …}, …, {"role": "assistant",
"content": "<think>\\n…\\n</think>\\n\\n…"}]}`. The prompt ends with `<think>\\n`, as at inference; what follows, up to
the line break behind the closing `<|im_end|>`, is supervised.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer

from pipo.batches import ENDLESS, Batch, pair_pieces
from pipo.fim import Sample

THINK_START = "<think>\n"
MAX_TOKENS = 65535


def read_conversations(path: Path) -> list[list[dict[str, str]]]:
    """Conversations of a JSON-lines file; ValueError names the line that is none."""
    conversations = []
    for number, line in enumerate(path.open(encoding="utf-8"), start=1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            answered = messages[-1]["role"] == "assistant" and all(isinstance(m["content"], str) for m in messages)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f'{path}:{number}: expected {{"messages": [{{"role", "content"}}, …]}}') from error
        if not answered:
            raise ValueError(f"{path}:{number}: the last message is not an assistant's text")
        conversations.append(messages)
    return conversations


def conversation_prompt(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> list[int]:
    """Ids of the messages before an answer, ending with the opened thought."""
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return tokenizer.encode(f"{text}<|im_start|>assistant\n{THINK_START}", add_special_tokens=False).ids


def conversation_sample(tokenizer: Tokenizer, messages: list[dict[str, str]], max_tokens: int = MAX_TOKENS) -> Sample:
    """Prompt and answer, cut off behind `max_tokens`. An answer without a thought gets an empty one."""
    prompt = conversation_prompt(tokenizer, messages[:-1])
    answer = messages[-1]["content"]
    rest = (
        answer.removeprefix("<think>").removeprefix("\n") if answer.startswith("<think>") else f"\n</think>\n\n{answer}"
    )
    response = tokenizer.encode(f"{rest}<|im_end|>\n", add_special_tokens=False).ids
    return Sample((prompt + response)[:max_tokens], min(len(prompt), max_tokens), prompt_weight=0.0)


class ConversationSource:
    """Batches of one row, each of its own even length; every pass goes through all conversations in a new order."""

    def __init__(self, samples: list[Sample], pad: int, max_ratio: float, seed: int) -> None:
        if not samples:
            raise ValueError("there is no conversation to learn from")
        self.samples, self.pad, self.max_ratio, self.seed = samples, pad, max_ratio, seed

    def __getitem__(self, step: int) -> Batch:
        passes, place = divmod(step, len(self.samples))
        order = list(range(len(self.samples)))
        random.Random(f"{self.seed}/order/{passes}").shuffle(order)
        source = random.Random(f"{self.seed}/{step}")
        ids, weights = pair_pieces(self.samples[order[place]], True, source, self.pad, self.max_ratio)
        return Batch(torch.tensor([ids]), torch.tensor([weights]).clamp(max=1.0))

    def prefetched(self, first_step: int, rank: int = 0, workers: int = 1, loaders: int = 0) -> Iterator[Batch]:
        return (self[step] for step in range(first_step * workers + rank, ENDLESS, workers))
