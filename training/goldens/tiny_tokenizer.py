"""A byte-level BPE with a few merges, as GGUF files and `tokenizers` hold it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip

# How GGUF's `tokenizer.ggml.pre` cuts a text before merging.
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {
    "qwen2": [pre_tokenizers.Split(Regex(_QWEN2), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False, use_regex=True)],
}

_LEARNT_FROM = [
    "def read_lines(path):\n    with open(path) as file:\n        return [line.rstrip() for line in file]\n",
    "for (let index = 0; index < lines.length; index++) {\n    return lines[index];\n}\n",
    "if value is None:\n        raise ValueError(name)\n    return value\n",
] * 3

TEXTS = (
    "def f(x):\n    return x + 1\n",
    "for (let i = 0; i < 12345; i++) {\r\n\tlines.push(`${i}`);\r\n}",
    "   \n\n\t  trailing   ",
    "It's 3.14, they'LL say; café 你好 🙂‍↔️ ﷽",
    "<|fim_prefix|>return<|endoftext|>",
    "",
)


@dataclass(frozen=True)
class TinyTokenizer:
    """`pieces` are the ids below the special tokens, in GPT-2's letters for bytes; `merges` pairs joined by a space."""

    pre: str
    pieces: list[str]
    merges: list[str]
    tokenizer: Tokenizer

    @property
    def tokens(self) -> list[str]:
        return [*self.pieces, *SPECIAL]

    def encode(self, text: str) -> list[int]:
        """Ids of a document's text, in which special tokens are text like any other."""
        return self.tokenizer.encode(text).ids


def make_tokenizer(pre: str, merges: int = 44) -> TinyTokenizer:
    """Learns its merges from a few lines of code, cut as `pre` says; 256 ids are bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_SPLITS[pre])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_LEARNT_FROM, trainer)
    pieces = [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])]
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return TinyTokenizer(pre, pieces, [" ".join(pair) for pair in learnt], tokenizer)
