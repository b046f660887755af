"""Trains the byte-level BPE tokenizer of the bundled model and saves it in Hugging Face's file layout.

The pre-tokenizer keeps a line break together with the indentation that follows it, splits digits one by one
and never glues punctuation to a line break, so that a cursor at a line's end is always a token border.

    python -m pipo.tokenizer --data cache/data --out cache/tokenizer
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

ROWS = 8192  # embedding rows; the real vocabulary is a little smaller, the rest is never sampled
BPE_SIZE = 8160

PAD = "<|endoftext|>"
SPECIAL_TOKENS = (
    PAD, "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
THINK_TOKENS = ("<think>", "</think>")  # added, but kept in decoded text

SPLIT = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s*[\r\n]+[ \t]*|\s+(?!\S)|\s+"


def untrained_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def training_texts(data: Path, characters: int, seed: int = 0) -> Iterator[str]:
    """Training documents in random order until `characters` are reached."""
    texts = [json.loads(line)["text"] for line in (data / "train.jsonl").open(encoding="utf-8")]
    random.Random(seed).shuffle(texts)
    for text in texts:
        if characters <= 0:
            return
        characters -= len(text)
        yield text


def train(texts: Iterator[str]) -> Tokenizer:
    tokenizer = untrained_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in THINK_TOKENS])
    assert tokenizer.get_vocab_size() <= ROWS
    return tokenizer


def tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": "<|im_end|>",
        "bos_token": None,
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
    }


def save(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(), indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by pipo.data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--characters", type=int, default=40_000_000)
    arguments = parser.parse_args()
    tokenizer = train(training_texts(arguments.data, arguments.characters))
    save(tokenizer, arguments.out)
    sample = next(training_texts(arguments.data, 1, seed=1))
    density = len(sample) / len(tokenizer.encode(sample).ids)
    print(f"{tokenizer.get_vocab_size()} tokens, {density:.2f} characters per token")


if __name__ == "__main__":
    main()
