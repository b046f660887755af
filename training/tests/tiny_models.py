"""Tiny models, fixtures and ids that the tests share."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedConfig

from goldens.random_weights import randomize
from pipo.adapter import merge_adapter
from pipo.checkpoint import load_model
from pipo.config import make_config
from pipo.modeling import PipoModel

GOLDEN_DIR = Path(__file__).resolve().parents[2] / "test" / "golden"
DENSE_PAIR_FIXTURES = ("tiny-qwen2", "tiny-qwen3", "tiny-llama")
PAIR_FIXTURES = ("tiny-08b", "tiny-4b", "tiny-9b", "tiny-lora", "tiny-pregate", *DENSE_PAIR_FIXTURES)
DENSE_PLAIN_FIXTURES = ("tiny-llama-yarn", "tiny-llama-linear")
PLAIN_FIXTURES = ("tiny-plain", *DENSE_PLAIN_FIXTURES)

SHAPE = {
    "vocab_size": 160,
    "real_vocab_size": 150,
    "pad_token_id": 140,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "max_position_embeddings": 512,
}
PAD = SHAPE["pad_token_id"]


def pair_model(compressor: str = "mlp", tied: bool = True, seed: int = 11) -> PipoModel:
    return randomize(PipoModel(make_config(**SHAPE, tie_word_embeddings=tied), compressor), seed).eval()


def plain_model(tied: bool = True, seed: int = 12) -> PipoModel:
    config = make_config(**SHAPE, tie_word_embeddings=tied)
    return randomize(PipoModel(config, draft_head=True), seed).eval()


def dense_config(model_type: str, tied: bool = True, **fields) -> PreTrainedConfig:
    """A config of a family without recurrence; the other fields are those of SHAPE."""
    fields = {"num_hidden_layers": 2, "rope_theta": 1e4, **fields}
    return make_config(**{**SHAPE, "model_type": model_type, "tie_word_embeddings": tied, **fields})


def dense_model(
    model_type: str, compressor: str | None = None, tied: bool = True, seed: int = 13, **fields
) -> PipoModel:
    return randomize(PipoModel(dense_config(model_type, tied, **fields), compressor), seed).eval()


def random_ids(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 140, (batch, length), generator=torch.Generator().manual_seed(seed))


def load_fixture(name: str) -> PipoModel:
    directory = GOLDEN_DIR / name
    if (directory / "base").exists():
        return merge_adapter(load_model(directory / "base"), directory / "adapter")
    return load_model(directory)


def read_golden_text(name: str) -> dict[str, torch.Tensor]:
    lines = (GOLDEN_DIR / name / "golden.txt").read_text(encoding="utf-8").splitlines()
    entries = {}
    for head, body in zip(lines[::2], lines[1::2], strict=True):
        _, entry, dtype, _, *shape = head.split()
        kind = {"i32": torch.int64, "f32": torch.float32}[dtype]
        values = [float(v) if dtype == "f32" else int(v) for v in body.split()]
        entries[entry] = torch.tensor(values, dtype=kind).reshape([int(d) for d in shape])
    return entries
