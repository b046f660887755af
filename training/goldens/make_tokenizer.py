"""Makes `test/golden/tokenizer.json.gz`: texts, and their ids by the `tokenizers` library for splits of code models.

    cd training && python -m goldens.make_tokenizer

The vocabulary is that of the bundled model with a few numbers, which it has no tokens for; only the way to split text
into words differs. Characters that Unicode took up lately are left out, because libraries disagree about them until
they all know the same version.
"""

from __future__ import annotations

import gzip
import json
import random
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "test" / "golden" / "tokenizer.json.gz"
VOCABULARY = ROOT / "models" / "pipo-code-9m" / "tokenizer.json"
SOURCES = ("server/src/prompt/window.ts", "training/goldens/random_weights.py", "kernels/reference/rms_norm.cpp")

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(use_regex: bool = False) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


DIGITS = {"type": "Digits", "individual_digits": True}

NUMBERS = (("1", "2"), ("12", "3"), ("0", "0"), ("4", "5"))

SPLITS = {
    "qwen2": [
        split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS),
        byte_level(),
    ],
    "qwen35": [
        split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + BLANKS),
        byte_level(),
    ],
    "llama-bpe": [
        split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + BLANKS),
        byte_level(),
    ],
    "starcoder": [DIGITS, byte_level(use_regex=True)],
    "gpt-2": [byte_level(use_regex=True)],
    "deepseek-coder": [
        split(r"[\r\n]"),
        split(r"\s?\p{L}+"),
        split(r"\s?\p{P}+"),
        split("[一-龥ࠀ-一가-\ud7ff]+"),
        DIGITS,
        byte_level(),
    ],
    "seed-coder": [
        split(
            CONTRACTIONS
            + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
        ),
        byte_level(),
    ],
}

PIECES = (
    "'s 'S '\u017f 'T 'RE 'Ve 'LL 'lL 'd 'M a b foo Bar _ __init__ é e\u0301 \u0301 \u0300\u0316 \u00c5 A\u030a \ufb01 "
    "\u017f \u212a \u0130 ß 数学 かな カナ 한국어 \u1112\u1161\u11ab ไทย नमस्ते العربية עברית ١٢٣ ०१ ፩ "
    "Ⅷ ½ ² ① 𝟙 𝔘 😀 👍🏽 🇩🇪 \U0001f469\u200d\U0001f469\u200d\U0001f467 \u2603\ufe0f 1 12 123 1234567890 0x1F 3.14 "
    "// /* */ { } () [] => == != … — “ ” ` ``` $ € <|im_end|> \ue000 \U000f0000 \ufffd \uffff \u00ad \u200b \u200d"
).split(" ")
BLANK_PIECES = [" ", "  ", "    ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u3000", "\u2028", "\u0085", "\ufeff"]


def assigned() -> list[str]:
    """Characters that every library has known for years; `unicodedata` of Python 3.11 is Unicode 14."""
    points = (*range(0xD800), *range(0xE000, 0x20000), *range(0x30000, 0x30100), *range(0xE0000, 0xE0200))
    return [chr(point) for point in points if unicodedata.category(chr(point)) != "Cn"]


def texts() -> list[str]:
    chance = random.Random(9)
    known = assigned()
    found = [(ROOT / source).read_text()[:4000] for source in SOURCES]
    found += [found[0].replace("\n", "\r\n")[:1500], found[1].replace("    ", "\t")[:1500]]
    found += ["".join(chance.choices(PIECES + 3 * BLANK_PIECES, k=60)) for _ in range(80)]
    found += ["".join(chance.choices(["x", "}", "1", ";"] + 2 * BLANK_PIECES, k=60)) for _ in range(25)]
    found += ["".join(f"{c}a {c}{c}\n" for c in chance.sample(known, 40)) for _ in range(25)]
    found += ["".join(chance.sample(known, 120)) for _ in range(16)]
    return [*found, "", "a" * 300, " " * 200, "\n" * 100, "=" * 150 + "\n", "数" * 90, "0" * 50]


def vocabulary() -> dict:
    document = json.loads(VOCABULARY.read_text())
    model = document["model"]
    after = max(token["id"] for token in document["added_tokens"]) + 1
    for i, (left, right) in enumerate(NUMBERS):
        model["vocab"][left + right] = after + i
        model["merges"].append([left, right])
    document["added_tokens"] = []
    return document


def main() -> None:
    document = vocabulary()
    tokenizers = {}
    for name, steps in SPLITS.items():
        document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
        document["normalizer"] = {"type": "NFC"} if name == "qwen35" else None
        document["model"]["ignore_merges"] = name == "llama-bpe"
        tokenizers[name] = Tokenizer.from_str(json.dumps(document))
    # All ids of one text stand together: they are much alike, which the compression sees.
    cases = [
        {"text": text, "ids": {name: t.encode(text, add_special_tokens=False).ids for name, t in tokenizers.items()}}
        for text in texts()
    ]
    golden = {
        "preTokenizers": SPLITS,
        "nfc": ["qwen35"],
        "ignoreMerges": ["llama-bpe"],
        "addedMerges": NUMBERS,
        "cases": cases,
    }
    packed = gzip.compress(json.dumps(golden, separators=(",", ":")).encode(), mtime=0)
    TARGET.write_bytes(packed)


if __name__ == "__main__":
    main()
