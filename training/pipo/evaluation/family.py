"""The models that are compared: where they are, what they are, and the settings that all of them share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from pipo.checkpoint import load_model
from pipo.config import read_config
from pipo.fim import Sampler
from pipo.generation import Generation, Sampling, generate_pairs, generate_plain
from pipo.modeling import PipoModel


@dataclass(frozen=True)
class Member:
    """A model directory under the name that the tables use."""

    name: str
    directory: Path


@cache
def load_member(member: Member, device: str) -> PipoModel:
    """Weights widened to fp32: all measurements compute in fp32."""
    return load_model(member.directory).to(device)


def is_pair_model(member: Member) -> bool:
    """By its config alone: the weights need not be loaded for it."""
    config = read_config(json.loads((member.directory / "config.json").read_text("utf-8")))
    return config.compressor_type is not None


def shared_tokenizer(members: list[Member]) -> Tokenizer:
    """The family's tokenizer; ValueError where two members do not agree, as their numbers would not compare."""
    texts = {(member.directory / "tokenizer.json").read_text("utf-8") for member in members}
    if len(texts) != 1:
        raise ValueError("the models have different tokenizers: " + ", ".join(str(m.directory) for m in members))
    return Tokenizer.from_str(texts.pop())


def make_sampler(member: Member, tokenizer: Tokenizer, max_tokens: int) -> Sampler:
    """Prompts in the layout that the model directory describes."""
    description = json.loads((member.directory / "pipo.json").read_text("utf-8"))
    return Sampler(tokenizer, max_tokens, description["maxSuffixTokens"], description["fimFormat"])


def generate(
    member: Member,
    device: str,
    prompts: list[list[int]],
    threshold: float | None,
    max_tokens: int,
    stop_ids: tuple[int, ...],
    sampling: Sampling = Sampling(),  # noqa: B008 (immutable)
    rows: int = 100,
    **options: object,
) -> list[Generation]:
    """Decodes with a pair model at `threshold`, or with a plain model, for which it is None.

    `options` are those of `generate_pairs`.
    """
    model = load_member(member, device)
    if threshold is None:
        return generate_plain(model, prompts, max_tokens, stop_ids, sampling, rows)
    return generate_pairs(model, prompts, threshold, max_tokens, stop_ids, sampling, rows=rows, **options)


def parameters(member: Member, device: str) -> int:
    return sum(parameter.numel() for parameter in load_member(member, device).parameters())
