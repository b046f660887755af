"""Identifier copy: a longer name stands in the prompt, its first characters are typed again, the rest is asked for.

Pairs of tokens are compressed to one vector; whether names survive that is what this measures. In the `renamed`
variant the name is a random word, the same in the whole file, so that nothing but the prompt can tell it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from tokenizers import Tokenizer

from pipo.batches import FilePicker, TextFile
from pipo.evaluation.cursors import TRIES_PER_CURSOR, prompt_at
from pipo.fim import Cut, Sampler, line_end

VARIANTS = ("original", "renamed")
NAME = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z_][A-Za-z0-9_]*")
SEVERAL_WORDS = re.compile(r"[a-z0-9][A-Z]|[A-Za-z0-9]_[A-Za-z]")  # neither prose nor a keyword
MIN_NAME = 8  # characters
MIN_REST_TOKENS = 2  # a rest of one token would not show whether pairs blur it
MAX_TYPED = 3  # characters
MAX_TOKENS = 16
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class CopyTask:
    """Complete `name` behind its first `typed` characters."""

    variant: str
    language: str
    prompt: list[int]
    name: str
    typed: int

    @property
    def rest(self) -> str:
        return self.name[self.typed :]


def draw_copy_tasks(
    files: list[TextFile], sampler: Sampler, count: int, max_tokens: int, seed: int
) -> dict[str, list[CopyTask]]:
    """`count` places in files of one language, each in every variant. ValueError where the files have too few."""
    source, picker = random.Random(f"{seed}/copy/{files[0].language}"), FilePicker(files)
    tasks: dict[str, list[CopyTask]] = {variant: [] for variant in VARIANTS}
    for _ in range(TRIES_PER_CURSOR * count):
        if len(tasks["original"]) == count:
            return tasks
        file = picker.pick(source)
        place = choose_place(file.text, source)
        if place is None:
            continue
        typed = source.randint(1, MAX_TYPED)
        renamed_file, renamed_place = rename(file, place, random_name(place.group(), source))
        pair = (
            copy_task("original", file, place, typed, sampler, max_tokens),
            copy_task("renamed", renamed_file, renamed_place, typed, sampler, max_tokens),
        )
        if all(pair):
            for task in pair:
                tasks[task.variant].append(task)
    raise ValueError(f"only {len(tasks['original'])} of {count} names to copy found")


def choose_place(text: str, source: random.Random) -> re.Match[str] | None:
    """A name made of several words that stands at least once before."""
    found = NAME.search(text, source.randrange(len(text)))
    while found and not is_long_name(found.group(), text[: found.start()]):
        found = NAME.search(text, found.end())
    return found


def is_long_name(name: str, before: str) -> bool:
    return len(name) >= MIN_NAME and SEVERAL_WORDS.search(name) is not None and name in before


def random_name(name: str, source: random.Random) -> str:
    """Two words of syllables, joined as in `name`: by an underscore or a capital."""
    words = ["".join(source.choice(CONSONANTS) + source.choice(VOWELS) for _ in range(3)) for _ in range(2)]
    if name.isupper():
        return "_".join(words).upper()
    if "_" in name:
        return "_".join(words)
    joined = words[0] + words[1].capitalize()
    return joined[0].upper() + joined[1:] if name[0].isupper() else joined


def rename(file: TextFile, place: re.Match[str], name: str) -> tuple[TextFile, re.Match[str]]:
    """The file with one name exchanged everywhere, and the same occurrence in it."""
    pattern = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(place.group())}(?![A-Za-z0-9_])")
    earlier = len(pattern.findall(file.text, 0, place.start()))
    text = pattern.sub(name, file.text)
    shift = earlier * (len(name) - len(place.group()))
    found = NAME.match(text, place.start() + shift)
    assert found is not None and found.group() == name
    return TextFile(file.name, file.language, file.package, text), found


def copy_task(
    variant: str, file: TextFile, place: re.Match[str], typed: int, sampler: Sampler, max_tokens: int
) -> CopyTask | None:
    """The task, or None where the typed start does not tell which of the prompt's names is meant."""
    name = place.group()
    cut = Cut(place.start() + typed, line_end(file.text, place.end()))
    prompt = prompt_at(file, cut, sampler, max_tokens)
    visible = earlier_names(sampler.tokenizer, prompt, typed)
    alike = {other for other in visible if other.startswith(name[:typed]) and len(other) > typed}
    if alike != {name} or len(sampler.encode(name[typed:])) < MIN_REST_TOKENS:
        return None
    return CopyTask(variant, file.language, prompt, name, typed)


def earlier_names(tokenizer: Tokenizer, prompt: list[int], typed: int) -> set[str]:
    """All names in the prompt's text, without the typed start at its end."""
    text = tokenizer.decode(prompt, skip_special_tokens=True)
    return set(NAME.findall(text[: len(text) - typed]))


def is_copied(task: CopyTask, completion: str) -> bool:
    """Whether the completion writes the rest of the name and then ends it."""
    following = completion[len(task.rest) : len(task.rest) + 1]
    return completion.startswith(task.rest) and not re.match(r"[A-Za-z0-9_]", following)
