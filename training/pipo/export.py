"""Writes a model directory as the engine reads it: weights, config, tokenizer and `pipo.json`.

    python -m pipo.export --config configs/pipo-code-9m.json --checkpoint cache/sft/checkpoint.pt \\
        --tokenizer cache/tokenizer --out ../models/pipo-code-9m --threshold 0.5
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer

from pipo.checkpoint import save_pipo
from pipo.fim import Sampler, SpecialIds
from pipo.modeling import PipoModel

CONTEXT_PAIRS = 384  # the length of a training row
MAX_SUFFIX_TOKENS = Sampler.max_suffix_tokens
FIM_LAYOUT = "<|fim_suffix|>{suffix}<|fim_prefix|><|file_sep|>{fileName}\n{prefix}"


def export_model(model: PipoModel, tokenizer_folder: Path, out: Path, name: str, threshold: float) -> None:
    """Writes all files to a folder beside `out` and then moves them, each whole, into it."""
    out.mkdir(parents=True, exist_ok=True)
    special = SpecialIds.of(Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json")))
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        fresh = Path(folder)
        save_pipo(model, fresh)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer_folder / file, fresh / file)
        _write(fresh / "generation_config.json", {"eos_token_id": [special.end], "pad_token_id": special.pad})
        _write(fresh / "pipo.json", pipo_description(name, threshold, special))
        for file in fresh.iterdir():
            file.replace(out / file.name)


def pipo_description(name: str, threshold: float, special: SpecialIds) -> dict[str, object]:
    return {
        "name": name,
        "version": "0.1.0",
        "fimFormat": "joined",
        "fimLayout": FIM_LAYOUT,
        "maxSuffixTokens": MAX_SUFFIX_TOKENS,
        "defaultThreshold": threshold,
        "padTokenId": special.pad,
        "stopTokenIds": [special.end],
        "contextPairs": CONTEXT_PAIRS,
        "license": "Apache-2.0",
    }


def _write(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    from pipo.pretrain import new_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, help="checkpoint.pt of pipo.sft; without it: random weights")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--threshold", type=float, required=True, help="default gate threshold, chosen by pipo.evaluate"
    )
    arguments = parser.parse_args()
    model = new_model(arguments.config, Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json")))
    model.add_pair_modules("mlp")
    if arguments.checkpoint:
        model.load_state_dict(torch.load(arguments.checkpoint, weights_only=True)["model"])
    export_model(model, arguments.tokenizer, arguments.out, arguments.out.name, arguments.threshold)


if __name__ == "__main__":
    main()
