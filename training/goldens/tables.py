"""Text twins of checkpoints and goldens for readers without a JSON parser.

`config.txt`   key value                                               one hyper-parameter per line
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
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig

from pipo.config import pad_token_id, real_vocab_size


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


def write_config(path: Path, config: Qwen3_5TextConfig, compressor_type: str | None, pre_gate: bool = False) -> None:
    rope = config.rope_parameters
    entries = {
        "architecture": "qwen3_5",
        "vocab_size": config.vocab_size,
        "real_vocab_size": real_vocab_size(config),
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "layer_types": " ".join(config.layer_types),
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rotary_dim": int(config.head_dim * rope["partial_rotary_factor"]),
        "rope_theta": f"{rope['rope_theta']:.9g}",
        "rms_norm_eps": f"{config.rms_norm_eps:.9g}",
        "linear_conv_kernel_dim": config.linear_conv_kernel_dim,
        "linear_key_head_dim": config.linear_key_head_dim,
        "linear_value_head_dim": config.linear_value_head_dim,
        "linear_num_key_heads": config.linear_num_key_heads,
        "linear_num_value_heads": config.linear_num_value_heads,
        "tie_word_embeddings": int(config.tie_word_embeddings),
        "max_positions": config.max_position_embeddings,
        "compressor": compressor_type or "none",
        "pad_token_id": pad_token_id(config),
        **({"pre_gate": 1} if pre_gate else {}),
    }
    path.write_text("".join(f"{key} {value}\n" for key, value in entries.items()), encoding="utf-8")


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
