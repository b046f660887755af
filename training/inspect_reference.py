"""What `pipo inspect --json` must print for a checkpoint, computed with transformers as the backbone.

    python inspect_reference.py DIR --ids 1,2,3,4                 merged PIPO or plain directory
    python inspect_reference.py FILE.gguf --ids 1,2,3,4           GGUF file of a Qwen2, Qwen3 or Llama
    python inspect_reference.py BASE --adapter ADAPTER --ids …    base directory with a LoRA adapter
    python inspect_reference.py DIR --random 7 --ids …            first makes a random checkpoint in DIR

`--random SEED` makes a checkpoint that no test contains: its shape is drawn from the seed unless named, e.g.
`--set hidden_size=128 num_hidden_layers=6`; `--family` names its architecture. Left-out `--ids` are drawn from the
seed, too, and printed to stderr.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import torch

from goldens.random_weights import randomize
from pipo.adapter import merge_adapter
from pipo.checkpoint import load_model, save_pipo, save_plain
from pipo.config import make_config, real_vocab_size
from pipo.families import FAMILIES, QWEN3_5, Family
from pipo.gguf_file import load_gguf
from pipo.inspection import inspect_pairs, inspect_plain
from pipo.modeling import PipoModel

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
FAMILY_NAMES = {family.name: family for family in FAMILIES}


def random_shape(seed: int, family: Family) -> dict:
    """A valid shape: inputs of every matrix are multiples of 32, everything else is free."""
    rng = random.Random(seed)
    vocab = rng.randrange(150, 600)
    key_heads, head_dim = rng.choice([1, 2, 3, 4]), rng.choice([32, 64, 128])
    kv_heads = rng.choice([1, 2])
    return {
        "model_type": family.model_types[0],
        "hidden_size": 32 * rng.randrange(2, 6),
        "intermediate_size": 32 * rng.randrange(3, 10),
        "num_hidden_layers": rng.randrange(3, 10),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * rng.choice([1, 2, 4]),
        "head_dim": head_dim,
        "linear_num_key_heads": key_heads,
        "linear_num_value_heads": key_heads * rng.choice([1, 2]),
        "linear_key_head_dim": (dim := rng.choice([32, 64])),
        "linear_value_head_dim": dim,
        "vocab_size": vocab,
        "real_vocab_size": vocab - rng.randrange(0, 20),
        "pad_token_id": vocab - 25,
        "tie_word_embeddings": rng.random() < 0.5,
        "max_position_embeddings": 4096,
    }


def make_checkpoint(directory: Path, options: argparse.Namespace) -> None:
    """Fills the directory with a random checkpoint as `--random` and the options beside it ask for."""
    seed, dtype = options.random, DTYPES[options.dtype]
    compressor = None if options.compressor == "none" else options.compressor
    family = FAMILY_NAMES[options.family]
    config = make_config(**{**random_shape(seed, family), **parse_fields(options.set)})
    torch.manual_seed(seed)
    # Of plain models, only published Qwen3.5 ones have an MTP block.
    model = randomize(PipoModel(config, compressor, draft_head=family is QWEN3_5), seed)
    if compressor is None:
        save_plain(model, directory, dtype)
    else:
        save_pipo(model, directory, dtype)


def random_ids(model: PipoModel, seed: int, count: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(real_vocab_size(model.config)) for _ in range(count)]


def parse_fields(pairs: list[str]) -> dict:
    """NAME=VALUE with JSON values: `hidden_size=128`, `tie_word_embeddings=false`."""
    fields = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise SystemExit(f"--set expects NAME=VALUE, got {pair!r}")
        fields[name] = json.loads(value)
    return fields


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="or a .gguf file")
    parser.add_argument("--ids", help="comma-separated token ids")
    parser.add_argument("--count", type=int, default=48, help="how many ids are drawn when --ids is left out")
    parser.add_argument("--top", type=int, default=8)
    parser.add_argument("--mode", choices=["pair", "plain"], help="default: pair where the checkpoint can")
    parser.add_argument("--adapter", type=Path, help="PEFT adapter directory to merge into the base")
    parser.add_argument("--random", type=int, metavar="SEED", help="make a random checkpoint in DIR first")
    parser.add_argument("--family", choices=list(FAMILY_NAMES), default="qwen3_5", help="of the random checkpoint")
    parser.add_argument("--compressor", choices=["linear", "mlp", "none"], default="mlp")
    parser.add_argument("--dtype", choices=list(DTYPES), default="bf16", help="of the random checkpoint's weights")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="config fields of --random")
    return parser.parse_args(arguments)


def inspect(options: argparse.Namespace) -> dict:
    if options.random is not None:
        make_checkpoint(options.directory, options)
    model = load_gguf(options.directory) if options.directory.suffix == ".gguf" else load_model(options.directory)
    if options.adapter:
        model = merge_adapter(model, options.adapter)
    if options.ids:
        ids = [int(i) for i in options.ids.split(",")]
    else:
        ids = random_ids(model, options.random or 0, options.count)
        print("ids: " + ",".join(map(str, ids)), file=sys.stderr)
    mode = options.mode or ("pair" if model.is_pair_model else "plain")
    return inspect_pairs(model, ids, options.top) if mode == "pair" else inspect_plain(model, ids, options.top)


if __name__ == "__main__":
    print(json.dumps(inspect(parse_arguments(None))))
