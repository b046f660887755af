"""Reads a GGUF file of a Qwen2, Qwen3 or Llama as a plain model: the engine's reference, and a start for training.

    python -m pipo.gguf_file model.gguf directory         writes a plain directory, Qwen's tokenizer included

Needs the package `gguf` (extra `gguf`), which widens the block formats.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer

from pipo.checkpoint import load_tensors, save_plain
from pipo.config import head_dim, make_config
from pipo.modeling import PipoModel

_FAMILIES = ("qwen2", "qwen3", "llama")
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_FREQUENCY_DIVISORS = "rope_freqs.weight"
_UNUSED_TOKEN = 5


def load_gguf(path: str | Path) -> PipoModel:
    """The plain model of a GGUF file, every tensor widened to fp32.

    Raises ValueError for another architecture, a rotation that is not supported, and missing or unknown tensors.
    """
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(path)
    stored = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).copy()) for t in reader.tensors}
    divisors = stored.pop(_FREQUENCY_DIVISORS, None)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    fields = config_fields(metadata, divisors)
    fields["tie_word_embeddings"] = "output.weight" not in stored
    model = PipoModel(make_config(**fields))
    if divisors is not None:
        _check_divisors(model, divisors, path)
    tensors = {model_name(name): tensor for name, tensor in stored.items()}
    if fields["model_type"] == "llama":
        tensors = {name: _rotated_by_halves(name, t, model) for name, t in tensors.items()}
    load_tensors(model, tensors, path)
    return model.eval()


def config_fields(metadata: dict[str, object], divisors: Tensor | None) -> dict[str, object]:
    """The fields of `make_config` that GGUF's metadata mean; `tie_word_embeddings` is for the tensors to say."""
    family = metadata["general.architecture"]
    if family not in _FAMILIES:
        raise ValueError(f"architecture {family!r} is not supported; expected one of {', '.join(_FAMILIES)}")
    kinds = metadata["tokenizer.ggml.token_type"]
    names = {
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
        "max_position_embeddings": "context_length",
    }
    fields = {field: metadata.get(f"{family}.{name}") for field, name in names.items()}
    if fields["head_dim"] is None:
        fields["head_dim"] = fields["hidden_size"] // fields["num_attention_heads"]
    return {
        **fields,
        "model_type": family,
        "vocab_size": len(kinds),
        "real_vocab_size": max(i for i, kind in enumerate(kinds) if kind != _UNUSED_TOKEN) + 1,
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "rope_parameters": _rope_parameters(family, metadata, divisors),
    }


def _rope_parameters(family: str, metadata: dict[str, object], divisors: Tensor | None) -> dict[str, object]:
    theta = metadata.get(f"{family}.rope.freq_base", 1e4)
    kind = metadata.get(f"{family}.rope.scaling.type", "none")
    if divisors is not None:  # the other numbers are Meta's own; whether they hold is checked against the table
        rope = {"rope_type": "llama3", "factor": divisors.max().item(), "original_max_position_embeddings": 8192}
        return {**rope, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": theta}
    if kind == "none":
        return {"rope_type": "default", "rope_theta": theta}
    rope = {"rope_type": kind, "rope_theta": theta, "factor": metadata[f"{family}.rope.scaling.factor"]}
    if kind == "yarn":
        trained = metadata[f"{family}.rope.scaling.original_context_length"]
        rope["original_max_position_embeddings"] = trained
    return rope


def model_name(stored: str) -> str:
    """`PipoModel`'s name of a tensor; itself where there is none, so that it is reported as unknown."""
    stem, _, kind = stored.rpartition(".")
    if stem in OTHER_NAMES:
        return f"{OTHER_NAMES[stem]}.{kind}"
    block, _, rest = stem.removeprefix("blk.").partition(".")
    return f"model.layers.{block}.{LAYER_NAMES[rest]}.{kind}" if rest in LAYER_NAMES else stored


def _rotated_by_halves(name: str, tensor: Tensor, model: PipoModel) -> Tensor:
    """Llama's rows of Q and K lie for a rotation of neighbours: [2i, 2i + 1] become [i, i + head_dim / 2]."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor
    size = head_dim(model.config)
    return tensor.unflatten(0, (-1, size // 2, 2)).transpose(1, 2).flatten(0, 2)


def _check_divisors(model: PipoModel, divisors: Tensor, path: str | Path) -> None:
    plain = model.config.rope_parameters["rope_theta"] ** (-torch.arange(len(divisors)) / len(divisors))
    if not torch.allclose(model.model.rotary_emb.inv_freq, plain / divisors, rtol=1e-4):
        raise ValueError(f"{path}: {_FREQUENCY_DIVISORS} stretches the rotation in a way that is not supported")


def convert(path: Path, out: Path) -> bool:
    """Writes a plain directory, weights rounded to bf16; False where the file's tokenizer could not go with them.

    Of other splits than Qwen2's, transformers' own conversion loses some rules.
    """
    from gguf import GGUFReader

    save_plain(load_gguf(path), out)
    if GGUFReader(path).get_field("tokenizer.ggml.pre").contents() != "qwen2":
        return False
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(out)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path, help="directory to write; weights are rounded to bf16")
    arguments = parser.parse_args()
    if not convert(arguments.file, arguments.out):
        print(f"Put the publisher's tokenizer.json into {arguments.out}: the file's own cannot be converted exactly.")


if __name__ == "__main__":
    main()
