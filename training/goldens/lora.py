"""The LoRA fixture: a plain base directory and an adapter directory written by the real `peft` library."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from goldens.random_weights import randomize
from goldens.tables import stored_tensors
from pipo.adapter import adapter_target, lora_scale, merge_adapter, wrap_with_adapter
from pipo.checkpoint import BASE_PREFIX, load_model, save_plain
from pipo.modeling import PipoModel

RANK, ALPHA = 8, 16


def write_lora_fixture(config: PreTrainedConfig, seed: int, directory: Path) -> tuple[PipoModel, list[str]]:
    """Writes `base/` and `adapter/`; returns the merged model and the lines of its tensor table."""
    base_dir, adapter_dir = directory / "base", directory / "adapter"
    save_plain(randomize(PipoModel(config, draft_head=True), seed), base_dir)
    base = load_model(base_dir)
    _write_adapter(wrap_with_lora(base, seed), adapter_dir)
    return merge_adapter(base, adapter_dir), _tensor_lines(directory)


@torch.no_grad()
def wrap_with_lora(base: PipoModel, seed: int) -> torch.nn.Module:
    """The PEFT model of fine-tuning, with random LoRA factors and random copies of the saved modules."""
    trained = PipoModel(base.config, draft_head=True)
    trained.load_state_dict(base.state_dict())
    trained.add_pair_modules("mlp")
    wrapped = wrap_with_adapter(trained, RANK, ALPHA).eval()
    values = dict(randomize(PipoModel(base.config, "mlp"), seed + 1).named_parameters())
    generator = torch.Generator().manual_seed(seed + 2)
    for name, parameter in wrapped.named_parameters():
        if ".modules_to_save." in name:
            parameter.copy_(values[adapter_target(name)])
        elif ".lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_((1.0 if ".lora_A." in name else 0.25) * noise / parameter.shape[1] ** 0.5)
    return wrapped


def _write_adapter(wrapped: torch.nn.Module, directory: Path) -> None:
    wrapped.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    (directory / "adapter_model.safetensors").chmod(0o644)
    path = directory / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = "../base"
    settings["task_type"], settings["auto_mapping"] = "CAUSAL_LM", None
    settings["target_modules"] = sorted(settings["target_modules"])  # peft keeps a set
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _tensor_lines(directory: Path) -> list[str]:
    settings = json.loads((directory / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    scale = lora_scale(settings)
    base = stored_tensors(directory, directory / "base" / "model.safetensors")
    tensors = {n.replace(BASE_PREFIX, "model."): place for n, place in base.items()}
    factors = []
    for stored, place in stored_tensors(directory, directory / "adapter" / "adapter_model.safetensors").items():
        name = adapter_target(stored)
        if ".lora_" in name:
            module, side = name.removesuffix(".weight").rsplit(".lora_", 1)
            factors.append(f"lora_{side.lower()} {module}.weight {scale:.9g} {place.line()}")
        else:
            tensors[name] = place
    return [f"tensor {name} {place.line()}" for name, place in tensors.items()] + sorted(factors)
