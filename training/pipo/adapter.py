"""PEFT LoRA adapters of PIPO fine-tuning: wrapped around a model for training, and merged into a base checkpoint.

Merged means `W + scale · B A`, and `modules_to_save` in place of originals.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipo.checkpoint import BASE_PREFIX, compressor_type_of, load_tensors
from pipo.modeling import PipoModel

ADAPTER_NAME = "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."

# As the published PIPO recipe: no Gated DeltaNet projection, no embedding and no output matrix.
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SAVED_MODULES = [
    "confidence_head",
    "compressor",
    "mtp.fc",
    "mtp.pre_fc_norm_hidden",
    "mtp.pre_fc_norm_embedding",
    "mtp.norm",
]
# Trained whole in supervised fine-tuning, left alone by distillation; not every family norms queries and keys.
SAVED_BLOCK_NORMS = [
    "mtp.layers.0.input_layernorm",
    "mtp.layers.0.post_attention_layernorm",
    "mtp.layers.0.self_attn.q_norm",
    "mtp.layers.0.self_attn.k_norm",
]


def wrap_with_adapter(
    model: PipoModel,
    rank: int,
    alpha: int,
    dropout: float = 0.0,
    block_norms: bool = True,
    new_draft_head: bool = False,
) -> torch.nn.Module:
    """The PEFT model around a pair model; only the adapter trains. `wrapped.base_model.model` is the pair model.

    A draft head that the base checkpoint does not have is trained and stored whole. Raises ImportError where `peft`
    is not installed (extra `adapters`).
    """
    from peft import LoraConfig, get_peft_model

    modules = {name for name, _ in model.named_modules()}
    saved = SAVED_MODULES + ([name for name in SAVED_BLOCK_NORMS if name in modules] if block_norms else [])
    if new_draft_head:
        saved = ["confidence_head", "compressor", "mtp"]
    settings = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=LORA_TARGETS,
        exclude_modules=r"mtp\..*" if new_draft_head else None,
        modules_to_save=[*saved, "pre_gate"] if model.has_pre_gate else saved,
    )
    wrapped = get_peft_model(model, settings)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:  # fp32 whatever the frozen weights are in: small steps would be rounded away
            parameter.data = parameter.data.float()
    return wrapped


def merge_adapter(base: PipoModel, directory: str | Path) -> PipoModel:
    """A PIPO model from a base model with a draft head and an adapter directory; `base` is left as it is.

    The sum is taken in fp32 and not rounded. Raises ValueError where the adapter has no compressor, names a
    tensor that the model has not, or holds half a LoRA pair.
    """
    directory = Path(directory)
    settings = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    stored = {adapter_target(n): t.float() for n, t in load_file(directory / ADAPTER_NAME).items()}
    factors = {n: t for n, t in stored.items() if n.endswith((".lora_A.weight", ".lora_B.weight"))}
    tensors = {n: t.float() for n, t in base.state_dict().items()}
    tensors.update({n: t for n, t in stored.items() if n not in factors})
    for module in sorted({n.rsplit(".lora_", 1)[0] for n in factors}):
        _add_lora(tensors, module, factors, lora_scale(settings), directory)

    compressor_type = compressor_type_of(tensors)
    if compressor_type is None:
        raise ValueError(f"{directory}: the adapter holds no compressor tensors; is it a PIPO adapter?")
    merged = PipoModel(base.config, compressor_type)
    if "pre_gate.weight" in tensors:
        merged.add_pre_gate()
    load_tensors(merged, tensors, directory)
    return merged.eval()


def lora_scale(settings: dict) -> float:
    """alpha / r, or alpha / √r for rank-stabilised LoRA."""
    if settings.get("rank_pattern") or settings.get("alpha_pattern"):
        raise ValueError("adapter_config.json sets rank_pattern or alpha_pattern, which is not supported")
    rank = settings["r"]
    return settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def adapter_target(stored: str) -> str:
    """The model's name of an adapter tensor, from any layout that PEFT writes or wraps."""
    name = stored.removeprefix(_PEFT_PREFIX)
    for wrapper in (".modules_to_save.default", ".modules_to_save", ".base_layer"):
        name = name.replace(wrapper, "")
    name = name.replace(".lora_A.default.", ".lora_A.").replace(".lora_B.default.", ".lora_B.")
    return "model." + name[len(BASE_PREFIX) :] if name.startswith(BASE_PREFIX) else name


def _add_lora(tensors: dict[str, Tensor], module: str, factors: dict[str, Tensor], scale: float, source: Path) -> None:
    a, b = factors.get(f"{module}.lora_A.weight"), factors.get(f"{module}.lora_B.weight")
    target = f"{module}.weight"
    if a is None or b is None or target not in tensors:
        raise ValueError(f"{source}: LoRA of {module} is incomplete or has no such weight in the base")
    tensors[target] = torch.addmm(tensors[target], b, a, alpha=scale)
