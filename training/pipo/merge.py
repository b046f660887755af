"""Merges a LoRA adapter of PIPO fine-tuning into its base model: one directory that the engine reads.

python -m pipo.merge --model Qwen3.5-4B --adapter runs/sft/adapter --out Qwen3.5-4B-PIPO
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pipo.adapter import merge_adapter
from pipo.checkpoint import load_model, save_pipo

COPIED = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Writes the merged weights in bf16, and the base's tokenizer beside them.

    Raises ValueError where the adapter does not fit the base, and where `out` is one of the two.
    """
    if out.resolve() in (base.resolve(), adapter.resolve()):
        raise ValueError(f"{out} is read from; merge into another folder")
    save_pipo(merge_adapter(load_model(base), adapter), out)
    for name in COPIED:
        if (base / name).exists():
            shutil.copy(base / name, out / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="base checkpoint directory")
    parser.add_argument("--adapter", type=Path, required=True, help="folder with adapter_model.safetensors")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    merge(arguments.model, arguments.adapter, arguments.out)


if __name__ == "__main__":
    main()
