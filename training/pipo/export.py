"""Writes a model directory as the engine reads it: weights, config, tokenizer and `pipo.json`.

What the checkpoint holds decides: a pair model, or a plain one in the layout that transformers reads, too.

    python -m pipo.export --config configs/pipo-code-9m.json --checkpoint cache/sft/checkpoint.pt \\
        --tokenizer cache/tokenizer --out ../models/pipo-code-9m --threshold 0.5
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

from pipo.checkpoint import save_pipo, save_plain
from pipo.fim import Sampler, SpecialIds
from pipo.modeling import PipoModel
from pipo.starting import read_model

CONTEXT_PAIRS = 384  # the length of a training row
MAX_SUFFIX_TOKENS = Sampler.max_suffix_tokens
FIM_LAYOUT = "<|fim_suffix|>{suffix}<|fim_prefix|><|file_sep|>{fileName}\n{prefix}"


def export_model(model: PipoModel, tokenizer_folder: Path, out: Path, name: str, threshold: float | None) -> None:
    """Writes all files to a folder beside `out` and then moves them, each whole, into it."""
    out.mkdir(parents=True, exist_ok=True)
    special = SpecialIds.of(Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json")))
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        fresh = Path(folder)
        (save_pipo if model.is_pair_model else save_plain)(model, fresh)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer_folder / file, fresh / file)
        _write(fresh / "generation_config.json", {"eos_token_id": [special.end], "pad_token_id": special.pad})
        _write(fresh / "pipo.json", pipo_description(name, threshold, special))
        for file in fresh.iterdir():
            file.replace(out / file.name)


def pipo_description(name: str, threshold: float | None, special: SpecialIds) -> dict[str, object]:
    """What `pipo.json` says; a plain model has no threshold."""
    description = {
        "name": name,
        "version": "0.2.0",
        "fimFormat": "joined",
        "fimLayout": FIM_LAYOUT,
        "maxSuffixTokens": MAX_SUFFIX_TOKENS,
        "defaultThreshold": threshold,
        "padTokenId": special.pad,
        "stopTokenIds": [special.end],
        "contextPairs": CONTEXT_PAIRS,
        "license": "Apache-2.0",
    }
    return {key: value for key, value in description.items() if value is not None}


def _write(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of pipo.pretrain or pipo.sft")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threshold", type=float, help="a pair model's default, chosen by pipo.evaluate")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    model = read_model(arguments.checkpoint, arguments.config, tokenizer)
    if model.is_pair_model and arguments.threshold is None:
        parser.error("a pair model needs --threshold")
    export_model(model, arguments.tokenizer, arguments.out, arguments.out.name, arguments.threshold)


if __name__ == "__main__":
    main()
