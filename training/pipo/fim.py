"""Turns source files into training samples: fill-in-the-middle with cuts at any character, and plain text.

Layout of a fill-in-the-middle sample (format `joined`: suffix first, then prefix and middle as one text):

    <|fim_suffix|>{suffix}<|fim_prefix|><|file_sep|>{file name}\\n{prefix}{middle}<|im_end|>

The middle follows the prefix without a token between them, so continuing it is what plain text already teaches.
A plain sample:

    <|file_sep|>{file name}\\n{text}<|im_end|>

Other layouts, for comparison; `line` is what is typed of the cursor's line, with the white space in front of it.
`<|im_end|>` follows the middle in all of them:

    spm       <|fim_suffix|>{suffix}<|fim_prefix|><|file_sep|>{file name}\\n{prefix}<|fim_middle|>{middle}
    psm       <|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>{middle}
    psm-line  <|fim_prefix|><|file_sep|>{file name}\\n{prefix}<|fim_suffix|>{suffix}<|fim_middle|>{line}{middle}
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tokenizers import Tokenizer

MAX_MIDDLE_CHARACTERS = 600
MIN_SAMPLE_TOKENS = 96  # fill-in-the-middle samples vary in length, so that a row holds several middles
BREAK_EVERY = (20, 200)  # characters between two token breaks of a broken plain text
# Share of breaks and cursors that are moved behind a space. People pause there, and the tokens of ordinary text,
# which carry their space in front, never show what follows a lone one.
BEHIND_SPACE_SHARE = 0.35
LAYOUTS = ("joined", "spm", "psm", "psm-line")
CHARACTERS_PER_TOKEN = 12  # more than tokens have on average, so that a cut text still fills its budget


@dataclass(frozen=True)
class Sample:
    """Token ids of one sample; `ids[response_start:]` is what the model is asked for at inference."""

    ids: list[int]
    response_start: int
    prompt_weight: float = 1.0  # of predicting the prompt's own tokens in training


@dataclass(frozen=True)
class Cut:
    """Character positions of a middle: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True)
class SpecialIds:
    pad: int
    end: int
    prefix: int
    suffix: int
    file: int
    middle: int

    @staticmethod
    def of(tokenizer: Tokenizer) -> SpecialIds:
        names = ("<|endoftext|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|file_sep|>", "<|fim_middle|>")
        return SpecialIds(*(tokenizer.token_to_id(name) for name in names))


def line_end(text: str, position: int) -> int:
    """Index of the line break that ends the line of `position`, or the text's length."""
    found = text.find("\n", position)
    return len(text) if found < 0 else found


def block_end(text: str, position: int, max_lines: int) -> int:
    """End of the block that starts on the line of `position`: up to a blank line, a dedent or `max_lines` lines."""
    start = text.rfind("\n", 0, position) + 1
    indent = len(text[start:].split("\n", 1)[0]) - len(text[start:].split("\n", 1)[0].lstrip())
    end = line_end(text, position)
    for _ in range(max_lines - 1):
        following = text[end + 1 : line_end(text, end + 1)]
        if end >= len(text) or not following.strip() or len(following) - len(following.lstrip()) < indent:
            break
        end = line_end(text, end + 1)
    return end


def behind_space(text: str, position: int) -> int:
    """The first place behind a space from `position` on in its line, or `position` where the line has none."""
    space = text.find(" ", position, line_end(text, position))
    return position if space < 0 else space + 1


def cut_start(text: str, random_source: random.Random) -> int:
    """Where a cursor could stand: any character of a line with text, or the start of its text."""
    for _ in range(8):
        position = random_source.randrange(len(text))
        start = text.rfind("\n", 0, position) + 1
        line = text[start : line_end(text, position)]
        if line.strip():
            indent = len(line) - len(line.lstrip())
            kind = random_source.random()
            if kind < 0.25:
                return start + indent
            position = max(position, start + indent)
            return behind_space(text, position) if kind < 0.25 + 0.75 * BEHIND_SPACE_SHARE else position
    return random_source.randrange(len(text))


def choose_cut(text: str, random_source: random.Random) -> Cut:
    """Draws a middle: mostly the rest of a line, sometimes a small block, a piece of a line or any span.

    Behind the last character of a line the block follows: nothing at all is no suggestion, and a model that has often
    seen it there has nothing to say where people wait for the next lines.
    """
    start = cut_start(text, random_source)
    kind = random_source.random()
    if kind < 0.55 and start < line_end(text, start):
        end = line_end(text, start)
    elif kind < 0.80:
        end = block_end(text, start, random_source.randint(2, 8))
    elif kind < 0.90:
        end = random_source.randint(start, line_end(text, start))
    else:
        end = start + random_source.randint(1, 300)
    return Cut(start, min(end, len(text), start + MAX_MIDDLE_CHARACTERS))


def apart_from_line(prefix: str) -> tuple[str, str]:
    """The text before the cursor's line, and the line so far with all white space in front of it.

    A line break shares its token with the indentation behind it and with blank lines before it.
    """
    before = prefix[: prefix.rfind("\n") + 1].rstrip()
    return before, prefix[len(before) :]


@dataclass
class Sampler:
    """Builds samples of at most `max_tokens` tokens from (file name, text) pairs; raises ValueError for no layout."""

    tokenizer: Tokenizer
    max_tokens: int
    max_suffix_tokens: int = 128
    layout: str = "joined"
    special: SpecialIds = field(init=False)

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is {self.layout!r}; expected one of {', '.join(LAYOUTS)}")
        self.special = SpecialIds.of(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_broken(self, text: str, random_source: random.Random) -> list[int]:
        """Ids of a text with token breaks at random characters.

        Words that go on after a break teach what a cursor inside a word needs; ordinary text never shows them.
        """
        ids: list[int] = []
        start = 0
        while start < len(text):
            end = start + random_source.randint(*BREAK_EVERY)
            if random_source.random() < BEHIND_SPACE_SHARE:
                end = behind_space(text, end)
            ids += self.encode(text[start:end])
            start = end
        return ids

    def header(self, name: str) -> list[int]:
        return [self.special.file, *self.encode(name + "\n")]

    def prompt(self, name: str, prefix: str, suffix: str, max_tokens: int, max_suffix_tokens: int) -> list[int]:
        """The prompt of one completion; keeps the prefix's end and the suffix's start within the budget."""
        s, header = self.special, self.header(name)
        suffix_ids = self.encode(suffix[: max_suffix_tokens * CHARACTERS_PER_TOKEN])[:max_suffix_tokens]
        room = max_tokens - len(suffix_ids)
        if self.layout in ("joined", "spm"):
            middle = [s.middle] if self.layout == "spm" else []
            prefix_ids = self.last_tokens(prefix, room - len(header) - len(middle) - 2)
            return [s.suffix, *suffix_ids, s.prefix, *header, *prefix_ids, *middle]
        header, (before, line) = ([], (prefix, "")) if self.layout == "psm" else (header, apart_from_line(prefix))
        line_ids = self.last_tokens(line, room - len(header) - 3)
        before_ids = self.last_tokens(before, room - len(header) - len(line_ids) - 3)
        return [s.prefix, *header, *before_ids, s.suffix, *suffix_ids, s.middle, *line_ids]

    def last_tokens(self, text: str, count: int) -> list[int]:
        """The ids of a text's end, at most `count`; none where `count` is not positive."""
        return self.encode(text[-count * CHARACTERS_PER_TOKEN :])[-count:] if count > 0 else []

    def fill_in_the_middle(self, name: str, text: str, random_source: random.Random, max_tokens: int) -> Sample:
        """A sample of at most `max_tokens` tokens, shorter ones being more likely."""
        cut = choose_cut(text, random_source)
        spread = max(max_tokens - MIN_SAMPLE_TOKENS, 0)
        budget = min(max_tokens, MIN_SAMPLE_TOKENS) + int(spread * random_source.random() ** 3)
        middle = self.encode(text[cut.start : cut.end])[: max_tokens // 2]
        has_suffix = random_source.random() < 0.85
        suffix_budget = random_source.randint(1, min(self.max_suffix_tokens, budget // 2)) if has_suffix else 0
        room = max(budget - len(middle) - 1, max_tokens // 4)
        prompt = self.prompt(name, text[: cut.start], text[cut.end :], room, suffix_budget)
        return Sample([*prompt, *middle, self.special.end], len(prompt))

    def plain(self, name: str, text: str, random_source: random.Random, max_tokens: int) -> Sample:
        """A stretch of a file from a line's start; ends with the stop token only where the file ends."""
        start = 0
        if len(text) > max_tokens * 4 and random_source.random() < 0.8:
            start = text.rfind("\n", 0, random_source.randrange(len(text) - max_tokens * 2)) + 1
        header = self.header(name)
        stretch = text[start : start + max_tokens * 8]
        body = self.encode_broken(stretch, random_source) if random_source.random() < 0.7 else self.encode(stretch)
        ids = [*header, *body, *([self.special.end] if start + len(stretch) == len(text) else [])]
        return Sample(ids[:max_tokens], min(len(header), max_tokens))
