"""Cursor positions in held-out files: what stands behind them is what a model is asked for."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipo.batches import FilePicker, TextFile
from pipo.fim import Cut, Sampler, block_end, cut_start, line_end

KINDS = ("line", "block", "span")
KIND_NAMES = {"line": "rest of the line", "block": "several lines", "span": "random span"}
MAX_CHARACTERS = {"line": 80, "block": 320, "span": 200}
MAX_TOKENS = {"line": 32, "block": 128, "span": 96}
MIN_CHARACTERS = 3
TRIES_PER_CURSOR = 400


@dataclass(frozen=True)
class Cursor:
    """Complete a middle: the prompt's ids and the text that really stands there.

    `typed` is what stands before the cursor on its line.
    """

    kind: str
    language: str
    prompt: list[int]
    expected: str
    typed: str


def draw_cut(kind: str, text: str, source: random.Random) -> Cut:
    """A middle of the given kind behind any character, inside of words too."""
    start = cut_start(text, source)
    if kind == "line":
        return Cut(start, line_end(text, start))
    if kind == "block":
        return Cut(start, block_end(text, start, source.randint(2, 8)))
    return Cut(start, min(start + source.randint(MIN_CHARACTERS, MAX_CHARACTERS[kind]), len(text)))


def is_measurable(kind: str, middle: str) -> bool:
    """Whether there is enough to find, and not too much: blocks have at least two lines, spans a word."""
    if not MIN_CHARACTERS <= len(middle.strip()) <= MAX_CHARACTERS[kind]:
        return False
    return kind != "block" or "\n" in middle.strip()


def draw_cursors(
    files: list[TextFile], sampler: Sampler, kind: str, count: int, max_tokens: int, seed: int
) -> list[Cursor]:
    """`count` cursors in files of one language, files drawn by their length; prompts of at most `max_tokens` tokens.

    Raises ValueError where the files have no such places.
    """
    source, picker, cursors = random.Random(f"{seed}/{kind}/{files[0].language}"), FilePicker(files), []
    for _ in range(TRIES_PER_CURSOR * count):
        if len(cursors) == count:
            return cursors
        file = picker.pick(source)
        cut = draw_cut(kind, file.text, source)
        expected = file.text[cut.start : cut.end]
        if is_measurable(kind, expected):
            typed = file.text[file.text.rfind("\n", 0, cut.start) + 1 : cut.start]
            prompt = prompt_at(file, cut, sampler, max_tokens)
            cursors.append(Cursor(kind, file.language, prompt, expected, typed))
    if len(cursors) == count:
        return cursors
    raise ValueError(f"only {len(cursors)} of {count} cursors of kind {kind!r} found")


def prompt_at(file: TextFile, cut: Cut, sampler: Sampler, max_tokens: int) -> list[int]:
    before, after = file.text[: cut.start], file.text[cut.end :]
    return sampler.prompt(file.name, before, after, max_tokens, sampler.max_suffix_tokens)


def compared_text(kind: str, text: str, expected: str) -> str:
    """The part of a completion that is held against the expected text, trailing blanks aside.

    Its first line, or as many lines as the block has: what is cut off is what an editor would not show either.
    """
    if kind == "span":
        return text.rstrip()
    lines = 1 if kind == "line" else expected.count("\n") + 1
    return "\n".join(text.split("\n")[:lines]).rstrip()
