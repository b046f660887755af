"""Text twins of checkpoints and goldens for readers without a JSON parser.

`config.txt`   key value                                               one field of the engine's config per line
`tensors.txt`  tensor NAME FILE DTYPE OFFSET BYTES NDIM DIMS…           where each tensor's bytes lie
               lora_a|lora_b NAME SCALE FILE DTYPE OFFSET BYTES 2 DIMS  its LoRA factors, where it has any
`golden.txt`   tensor NAME f32|i32 NDIM DIMS…, then one line of values
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from pipo.config import head_dim, pad_token_id, real_vocab_size
from pipo.families import QWEN2, QWEN3, QWEN3_5, family_of
from pipo.modeling import PipoModel


@dataclass
class StoredTensor:
    """A tensor's place: path relative to the fixture, dtype as safetensors names it, absolute byte offset."""

    file: str
    dtype: str
    offset: int
    size: int
    shape: list[int]

    def line(self) -> str:
        dims = " ".join(str(d) for d in self.shape)
        return f"{self.file} {self.dtype} {self.offset} {self.size} {len(self.shape)} {dims}"


def stored_tensors(root: Path, file: Path) -> dict[str, StoredTensor]:
    """Every tensor of one safetensors file under its stored name."""
    with file.open("rb") as opened:
        (header_size,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(header_size))
    header.pop("__metadata__", None)
    data = 8 + header_size
    return {
        name: StoredTensor(
            file.relative_to(root).as_posix(),
            entry["dtype"],
            data + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
            entry["shape"],
        )
        for name, entry in header.items()
    }


def write_config(path: Path, model: PipoModel) -> None:
    path.write_text(
        "".join(f"{key} {_word(value)}\n" for key, value in config_entries(model).items()), encoding="utf-8"
    )


def config_entries(model: PipoModel) -> dict[str, object]:
    """The engine's description of an architecture: fields and words of `ModelConfig` in server/src/engine/addon.ts.

    Fields inside of others are dotted.
    """
    entries = {**_sizes(model.config), **_attention(model.config), **_rope(model), **_recurrence(model.config)}
    entries["tieWordEmbeddings"] = model.config.tie_word_embeddings
    entries["maxPositions"] = model.config.max_position_embeddings
    if model.is_pair_model:
        entries["pipo.compressor"] = model.compressor_type
        entries["pipo.padTokenId"] = pad_token_id(model.config)
        if model.has_pre_gate:
            entries["pipo.preGate"] = True
    return entries


def _sizes(config: PreTrainedConfig) -> dict:
    full = ["full_attention"] * config.num_hidden_layers
    return {
        "family": family_of(config).name,
        "vocabSize": config.vocab_size,
        "realVocabSize": real_vocab_size(config),
        "hiddenSize": config.hidden_size,
        "intermediateSize": config.intermediate_size,
        "layerTypes": config.layer_types if family_of(config).recurrent else full,
        "numAttentionHeads": config.num_attention_heads,
        "numKeyValueHeads": config.num_key_value_heads,
        "headDim": head_dim(config),
    }


def _attention(config: PreTrainedConfig) -> dict:
    family = family_of(config)
    return {
        "normWeight": "zeroCentred" if family.zero_centred_norms else "plain",
        "rmsNormEps": config.rms_norm_eps,
        "queryKeyNorm": family in (QWEN3, QWEN3_5),
        "outputGate": family is QWEN3_5,
        "attentionBias": family is QWEN2 or getattr(config, "attention_bias", False),
    }


def _rope(model: PipoModel) -> dict:
    rope = model.config.rope_parameters
    entries = {
        "rotaryDim": int(head_dim(model.config) * rope.get("partial_rotary_factor", 1.0)),
        "ropeTheta": rope["rope_theta"],
    }
    kind = rope["rope_type"]
    if kind == "default":
        return entries
    yarn = {"betaFast": rope.get("beta_fast", 32), "betaSlow": rope.get("beta_slow", 1)} if kind == "yarn" else {}
    scaling = {
        "type": kind,
        "factor": rope["factor"],
        "originalMaxPositions": 0 if kind == "linear" else rope["original_max_position_embeddings"],
        "lowFrequencyFactor": rope.get("low_freq_factor", 0),
        "highFrequencyFactor": rope.get("high_freq_factor", 0),
        "betaFast": 0,
        "betaSlow": 0,
        **yarn,
        "attentionFactor": model.model.rotary_emb.attention_scaling,
    }
    return {**entries, **{f"ropeScaling.{name}": value for name, value in scaling.items()}}


def _recurrence(config: PreTrainedConfig) -> dict:
    """Sizes of the gated delta layers; 0 for families that have none."""
    return {
        "linearConvKernelDim": getattr(config, "linear_conv_kernel_dim", 0),
        "linearKeyHeadDim": getattr(config, "linear_key_head_dim", 0),
        "linearValueHeadDim": getattr(config, "linear_value_head_dim", 0),
        "linearNumKeyHeads": getattr(config, "linear_num_key_heads", 0),
        "linearNumValueHeads": getattr(config, "linear_num_value_heads", 0),
    }


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


class GoldenText:
    """Writes `golden.txt` entry by entry."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def ints(self, name: str, values: Tensor | list) -> None:
        tensor = torch.as_tensor(values, dtype=torch.int32)
        self._add(name, "i32", tensor, [str(v) for v in tensor.flatten().tolist()])

    def floats(self, name: str, values: Tensor | list) -> None:
        tensor = torch.as_tensor(values, dtype=torch.float32)
        self._add(name, "f32", tensor, [f"{v:.9g}" for v in tensor.flatten().tolist()])

    def write(self, path: Path) -> None:
        path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")

    def _add(self, name: str, dtype: str, tensor: Tensor, values: list[str]) -> None:
        dims = "".join(f" {d}" for d in tensor.shape)
        self._lines.append(f"tensor {name} {dtype} {tensor.dim()}{dims}")
        self._lines.append(" ".join(values))
