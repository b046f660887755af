"""Rows of equal length from random samples: plain rows for pretraining, pair-aligned rows for PIPO fine-tuning.

Every row starts with a sample that sees nothing before it; what is left of the row is filled with further
samples. A weight of 0 removes a token from the loss: PADs, and the start of every sample.
"""

from __future__ import annotations

import gzip
import json
import queue
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pipo.fim import Sample, Sampler
from pipo.tasks import chat_sample, make_task

LANGUAGE_SHARE = {"python": 0.42, "typescript": 0.36, "javascript": 0.22}
DOCUMENT_CHARACTERS_CAP = 40_000  # longer files are not drawn more often than this length
SMALLEST_FILL = 64  # tokens; a shorter rest of a row becomes PAD
RESPONSE_WEIGHT = 4.0  # an answer's tokens, against 1 for prompts and plain text
ENDLESS = 1 << 40  # steps


@dataclass(frozen=True)
class TextFile:
    name: str
    language: str
    package: str
    text: str


@dataclass(frozen=True)
class Batch:
    """ids and weights [B, T]; the weight of a token scales the loss of predicting it."""

    ids: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(self.ids.to(device, non_blocking=True), self.weights.to(device, non_blocking=True))


@dataclass(frozen=True)
class Mixture:
    """What a row is made of: shares of the samples drawn, the rest being plain text.

    Tasks are generated questions in chat format; a conversation stands alone in the model's view of the prompt.
    """

    fim: float
    tasks: float = 0.0


def read_split(path: Path) -> list[TextFile]:
    """Files of a split written by `pipo.data`, or of its copy compressed with gzip beside it."""
    packed = path.with_name(path.name + ".gz")
    lines = gzip.open(packed, "rt", encoding="utf-8") if packed.exists() else path.open(encoding="utf-8")
    with lines:
        rows = [json.loads(line) for line in lines]
    return [TextFile(Path(r["path"]).name, r["language"], r["package"], r["text"]) for r in rows]


class FilePicker:
    """Draws a language by its share, then a file in proportion to its (capped) length."""

    def __init__(self, files: list[TextFile]) -> None:
        self.by_language = {name: [f for f in files if f.language == name] for name in LANGUAGE_SHARE}
        self.by_language = {name: found for name, found in self.by_language.items() if found}
        self.lengths = {
            name: _running_sums(min(len(f.text), DOCUMENT_CHARACTERS_CAP) for f in found)
            for name, found in self.by_language.items()
        }

    def pick(self, source: random.Random) -> TextFile:
        names = list(self.by_language)
        name = source.choices(names, [LANGUAGE_SHARE[n] for n in names])[0]
        return source.choices(self.by_language[name], cum_weights=self.lengths[name])[0]


def _running_sums(lengths: Iterator[int]) -> list[int]:
    total, sums = 0, []
    for length in lengths:
        total += length
        sums.append(total)
    return sums


def draw_sample(
    picker: FilePicker, sampler: Sampler, mixture: Mixture, source: random.Random, max_tokens: int
) -> tuple[Sample, bool]:
    """One random sample of at most `max_tokens` tokens, and whether it is a prompt with an answer."""
    kind = source.random()
    if kind < mixture.tasks:
        sample = chat_sample(sampler.tokenizer, make_task(source))
        if len(sample.ids) <= max_tokens:
            return sample, True
    file = picker.pick(source)
    fim = (kind - mixture.tasks) / (1 - mixture.tasks) < mixture.fim
    build = sampler.fill_in_the_middle if fim else sampler.plain
    return build(file.name, file.text, source, max_tokens), fim


def plain_pieces(sample: Sample, answered: bool, _source: random.Random | None = None) -> tuple[list[int], list[float]]:
    """ids and weights of a sample for plain decoding; its first token is never predicted."""
    response = len(sample.ids) - sample.response_start
    weights = [sample.prompt_weight] * sample.response_start + [RESPONSE_WEIGHT if answered else 1.0] * response
    return sample.ids, [0.0, *weights[1:]]


def insert_pads(
    ids: list[int], weights: list[float], start: int, pad: int, ratio: float, source: random.Random
) -> tuple[list[int], list[float]]:
    """Splits a share of the pairs from index `start` (even) on: (a, b) becomes (a, PAD), (b, PAD).

    At least one pair is split where there is one whose second token is supervised.
    """
    candidates = [i for i in range(start, len(ids) - 1, 2) if weights[i + 1] > 0]
    count = min(len(candidates), max(1, round(ratio * len(candidates))))
    split = set(source.sample(candidates, count))
    out_ids, out_weights = ids[:start], weights[:start]
    for i in range(start, len(ids), 2):
        if i in split:
            out_ids += [ids[i], pad, ids[i + 1], pad]
            out_weights += [weights[i], 0.0, weights[i + 1], 0.0]
        else:
            out_ids += ids[i : i + 2]
            out_weights += weights[i : i + 2]
    return out_ids, out_weights


def pair_pieces(
    sample: Sample, answered: bool, source: random.Random, pad: int, max_ratio: float
) -> tuple[list[int], list[float]]:
    """ids and weights of a sample for pair decoding, of even length.

    A prompt of odd length gets a PAD at its very end, so the response starts on a pair border. PADs are inserted
    only where a model would write them: in the response, or after a random point of a plain text.
    """
    prompt, response = sample.ids[: sample.response_start], sample.ids[sample.response_start :]
    response_weight = RESPONSE_WEIGHT if answered else 1.0
    if answered:
        parity = len(prompt) % 2
        ids = prompt + [pad] * parity + response
        weights = [sample.prompt_weight] * len(prompt) + [0.0] * parity + [response_weight] * len(response)
        border = len(prompt) + parity
    else:
        ids, weights = prompt + response, [1.0] * len(sample.ids)
        border = source.randrange(0, len(ids) + 1) // 2 * 2
    if len(ids) % 2:
        ids, weights = [*ids, pad], [*weights, 0.0]
    weights[:2] = [0.0, 0.0]
    return insert_pads(ids, weights, border, pad, source.uniform(0.0, max_ratio), source)


Pieces = Callable[[Sample, bool, random.Random], tuple[list[int], list[float]]]


def build_row(
    picker: FilePicker, sampler: Sampler, length: int, mixture: Mixture, pieces: Pieces, source: random.Random
) -> tuple[list[int], list[float]]:
    """One row of exactly `length` tokens; samples are made to fit into what is left of it."""
    ids: list[int] = []
    weights: list[float] = []
    while length - len(ids) >= SMALLEST_FILL:
        room = min(sampler.max_tokens, length - len(ids))  # inserted PADs may still push a sample's end out
        sample, answered = draw_sample(picker, sampler, mixture, source, room)
        more_ids, more_weights = pieces(sample, answered, source)
        ids += more_ids
        weights += more_weights
    rest = length - len(ids)
    pad = sampler.special.pad
    return (ids + [pad] * rest)[:length], (weights + [0.0] * rest)[:length]


class BatchSource:
    """Batches by step number: the same seed and step always give the same batch, so runs can be resumed."""

    def __init__(
        self, picker: FilePicker, sampler: Sampler, shape: tuple[int, int], mixture: Mixture, pieces: Pieces, seed: int
    ) -> None:
        self.picker, self.sampler, self.shape = picker, sampler, shape
        self.mixture, self.pieces, self.seed = mixture, pieces, seed

    def __getitem__(self, step: int) -> Batch:
        source = random.Random(f"{self.seed}/{step}")
        rows = [
            build_row(self.picker, self.sampler, self.shape[1], self.mixture, self.pieces, source)
            for _ in range(self.shape[0])
        ]
        return Batch(torch.tensor([ids for ids, _ in rows]), torch.tensor([weights for _, weights in rows]))

    def prefetched(self, first_step: int, rank: int = 0, workers: int = 1, loaders: int = 0) -> Iterator[Batch]:
        """Endless batches from `first_step` on, built ahead; each of `workers` has its own.

        `loaders` processes build them, for a GPU that is faster than one thread of Python; 0 is such a thread.
        """
        steps = range(first_step * workers + rank, ENDLESS, workers)
        if loaders:
            return iter(DataLoader(self, batch_size=None, sampler=steps, num_workers=loaders, prefetch_factor=8))
        return _built_on_a_thread(self, steps)


def _built_on_a_thread(source: BatchSource, steps: range) -> Iterator[Batch]:
    ready: queue.Queue[Batch] = queue.Queue(maxsize=2)

    def work() -> None:
        for step in steps:
            ready.put(source[step])

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield ready.get()


def plain_source(files: list[TextFile], sampler: Sampler, rows: int, mixture: Mixture, seed: int) -> BatchSource:
    return BatchSource(FilePicker(files), sampler, (rows, sampler.max_tokens), mixture, plain_pieces, seed)


def pair_source(
    files: list[TextFile], sampler: Sampler, rows: int, length: int, mixture: Mixture, max_ratio: float, seed: int
) -> BatchSource:
    pieces = partial(pair_pieces, pad=sampler.special.pad, max_ratio=max_ratio)
    return BatchSource(FilePicker(files), sampler, (rows, length), mixture, pieces, seed)
