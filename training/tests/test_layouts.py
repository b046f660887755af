"""Prompt layouts: the stated pieces in the stated order, and nothing lost between them."""

import random

import pytest
from tokenizers import Tokenizer

from pipo.fim import LAYOUTS, Sampler, apart_from_line
from pipo.tokenizer import train

SOURCE = """import math


class Circle:
    def __init__(self, radius):
        self.radius = radius

    def area(self):
        return math.pi * self.radius**2
"""
CURSORS = range(1, len(SOURCE))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(iter([SOURCE] * 4))


def prompt(tokenizer: Tokenizer, layout: str, cursor: int, max_tokens: int = 512) -> tuple[Sampler, list[int]]:
    sampler = Sampler(tokenizer, 512, layout=layout)
    return sampler, sampler.prompt("circle.py", SOURCE[:cursor], SOURCE[cursor:], max_tokens, 128)


@pytest.mark.parametrize("cursor", [1, 13, 60, 80, 140])
def test_each_layout_is_its_pieces_in_their_order(tokenizer: Tokenizer, cursor: int) -> None:
    sampler, joined = prompt(tokenizer, "joined", cursor)
    s, encode = sampler.special, sampler.encode
    prefix, suffix, header = encode(SOURCE[:cursor]), encode(SOURCE[cursor:]), [s.file, *encode("circle.py\n")]
    before, line = map(encode, apart_from_line(SOURCE[:cursor]))
    assert joined == [s.suffix, *suffix, s.prefix, *header, *prefix]
    assert prompt(tokenizer, "spm", cursor)[1] == [*joined, s.middle]
    assert prompt(tokenizer, "psm", cursor)[1] == [s.prefix, *prefix, s.suffix, *suffix, s.middle]
    by_line = [s.prefix, *header, *before, s.suffix, *suffix, s.middle, *line]
    assert prompt(tokenizer, "psm-line", cursor)[1] == by_line


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prefix_and_middle_come_back_from_every_cut(tokenizer: Tokenizer, layout: str) -> None:
    sampler = Sampler(tokenizer, 512, layout=layout)
    s = sampler.special
    for seed in range(60):
        ids = sampler.fill_in_the_middle("circle.py", SOURCE, random.Random(seed), 512).ids
        ids.remove(s.end)
        text = text_of_pieces(sampler, ids)
        assert SOURCE.startswith(text["prefix"] + text["middle"])
        assert text["suffix"] in SOURCE[len(text["prefix"] + text["middle"]) :]


def text_of_pieces(sampler: Sampler, ids: list[int]) -> dict[str, str]:
    """The text behind each control token; joined text counts as prefix, the file name's line is left out."""
    s, pieces = sampler.special, {"prefix": "", "suffix": "", "middle": ""}
    names = {s.prefix: "prefix", s.suffix: "suffix", s.middle: "middle"}
    starts = [place for place, token in enumerate(ids) if token in names]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        text = sampler.tokenizer.decode([i for i in ids[start:end] if i not in names and i != s.file])
        pieces[names[ids[start]]] = text.removeprefix("circle.py\n")
    return pieces


def test_the_cursor_line_moves_with_its_indentation_in_one_token(tokenizer: Tokenizer) -> None:
    cursor = SOURCE.index("math.pi")
    assert apart_from_line(SOURCE[:cursor])[1] == "\n        return "
    sampler, ids = prompt(tokenizer, "psm-line", cursor)
    behind = ids[ids.index(sampler.special.middle) + 1 :]
    assert tokenizer.decode(behind[:1]) == "\n        "
    assert all("".join(apart_from_line(SOURCE[:cursor])) == SOURCE[:cursor] for cursor in CURSORS)
    assert apart_from_line("first li") == ("", "first li")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("budget", [40, 100])
def test_budgets_hold_and_keep_the_text_beside_the_cursor(tokenizer: Tokenizer, layout: str, budget: int) -> None:
    sampler = Sampler(tokenizer, 512, layout=layout)
    ids = sampler.prompt("a.py", "first = 1\n" * 500 + "last_line", "after_it()\n" * 500, budget, 20)
    assert len(ids) == budget
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert "<|fim_suffix|>after_it()" in text
    assert "last_line<|fim_" in text or text.endswith("last_line")
    long_line = sampler.prompt("a.py", "x = [" + "1, " * 2000, "]", budget, 20)
    assert len(long_line) == budget


@pytest.mark.parametrize("layout", LAYOUTS)
def test_samples_stay_within_their_tokens(tokenizer: Tokenizer, layout: str) -> None:
    sampler = Sampler(tokenizer, 512, layout=layout)
    for seed in range(60):
        sample = sampler.fill_in_the_middle("circle.py", SOURCE * 20, random.Random(seed), 128)
        assert len(sample.ids) <= 128
        assert sample.ids[-1] == sampler.special.end


def test_an_unknown_layout_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="psm-line"):
        Sampler(tokenizer, 512, layout="smp")
