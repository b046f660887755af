"""Checkpoint directories: merged PIPO, and plain ones as each family publishes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipo.config import read_config, text_fields
from pipo.families import family_of
from pipo.modeling import PipoModel

BASE_PREFIX = "model.language_model."
INDEX_NAME = "model.safetensors.index.json"
WEIGHTS_NAME = "model.safetensors"
_KEPT_F32 = ("A_log", "linear_attn.norm.weight")


def load_model(directory: str | Path, dtype: torch.dtype = torch.float32) -> PipoModel:
    """The model of a checkpoint directory, every tensor widened or rounded to `dtype`.

    What the model contains follows the tensors: compressor names decide its type, `mtp.*` the draft head,
    `pre_gate.*` the pre-gate.
    Raises ValueError that names each missing, unknown or wrongly shaped tensor.
    """
    directory = Path(directory)
    config = read_config(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    tensors = read_tensors(directory)
    _check_config(config, tensors, directory)
    config.tie_word_embeddings = "lm_head.weight" not in tensors
    has_draft_head = any(name.startswith("mtp.") for name in tensors)
    model = PipoModel(config, compressor_type_of(tensors), draft_head=has_draft_head)
    if "pre_gate.weight" in tensors:
        model.add_pre_gate()
    load_tensors(model, tensors, directory)
    return model.to(dtype).eval()


def read_tensors(directory: str | Path) -> dict[str, Tensor]:
    """All text tensors of a directory, sharded or not, under the names that `PipoModel` uses."""
    directory = Path(directory)
    index = directory / INDEX_NAME
    if index.exists():
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        files = [WEIGHTS_NAME]
    tensors: dict[str, Tensor] = {}
    for file in files:
        with safe_open(directory / file, framework="pt") as opened:
            for stored in opened.keys():  # noqa: SIM118 (safe_open is not a mapping)
                name = model_name(stored)
                if name is not None:
                    tensors[name] = opened.get_tensor(stored)
    return tensors


def model_name(stored: str) -> str | None:
    """`PipoModel`'s name of a stored tensor; None for the vision tower."""
    if stored.startswith("model.visual."):
        return None
    return "model." + stored[len(BASE_PREFIX) :] if stored.startswith(BASE_PREFIX) else stored


def compressor_type_of(tensors: dict[str, Tensor]) -> str | None:
    if "compressor.linear.weight" in tensors:
        return "linear"
    return "mlp" if "compressor.mlp.0.weight" in tensors else None


def load_tensors(model: PipoModel, tensors: dict[str, Tensor], source: str | Path) -> None:
    """Copies tensors into the model by name; ValueError where names or shapes differ."""
    wanted = model.state_dict()
    problems = [f"missing {name}" for name in wanted if name not in tensors]
    problems += [f"unknown {name}" for name in tensors if name not in wanted]
    problems += [
        f"{name} has shape {list(tensors[name].shape)}, config says {list(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    if problems:
        raise ValueError(f"{source}: " + "; ".join(problems))
    model.load_state_dict(tensors)


def save_pipo(model: PipoModel, directory: str | Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """A merged PIPO directory: flat config.json and one model.safetensors."""
    if not model.is_pair_model:
        raise ValueError("the model has no compressor; call add_pair_modules first, or save_plain")
    document = {
        "architectures": [family_of(model.config).pair_architecture],
        **text_fields(model.config),
        "mtp_num_hidden_layers": 1,
        "compressor_type": model.compressor_type,
        "dtype": _dtype_name(dtype),
    }
    _write_json(directory, "config.json", document)
    _save(_stored(model, dtype), Path(directory) / WEIGHTS_NAME)


def save_plain(
    model: PipoModel,
    directory: str | Path,
    dtype: torch.dtype = torch.bfloat16,
    shards: int = 1,
    extra_tensors: dict[str, Tensor] | None = None,
) -> None:
    """A plain directory as the family publishes it, sharded if asked.

    Qwen3.5 has a nested config and `model.language_model.` names; `A_log` and the gated norm stay F32 whatever
    `dtype` is, as there. `extra_tensors` are stored as they are.
    """
    if model.is_pair_model:
        raise ValueError("the model has pair modules; use save_pipo")
    family = family_of(model.config)
    fields = {**text_fields(model.config), "dtype": _dtype_name(dtype)}
    if model.has_draft_head or family.nested_in:
        fields["mtp_num_hidden_layers"] = 1 if model.has_draft_head else 0
    document = {"architectures": [family.plain_architecture]}
    tensors = _stored(model, dtype, _KEPT_F32)
    if family.nested_in:
        document["model_type"] = family.nested_in
        document["tie_word_embeddings"] = model.config.tie_word_embeddings
        document["text_config"] = fields
        tensors = {_base_name(name): tensor for name, tensor in tensors.items()}
    else:
        document.update(fields)
    _write_json(directory, "config.json", document)
    tensors.update(extra_tensors or {})
    if shards == 1:
        _save(tensors, Path(directory) / WEIGHTS_NAME)
    else:
        _save_shards(tensors, Path(directory), shards)


def _save_shards(tensors: dict[str, Tensor], directory: Path, shards: int) -> None:
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    weight_map, groups, filled = {}, [{} for _ in range(shards)], 0
    for name, tensor in tensors.items():
        shard = min(filled * shards // total, shards - 1)
        groups[shard][name] = tensor
        weight_map[name] = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        filled += tensor.numel() * tensor.element_size()
    for shard, group in enumerate(groups):
        _save(group, directory / f"model-{shard + 1:05d}-of-{shards:05d}.safetensors")
    _write_json(directory, INDEX_NAME, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors leaves it readable by its owner only


def _stored(model: PipoModel, dtype: torch.dtype, kept_f32: tuple[str, ...] = ()) -> dict[str, Tensor]:
    return {
        name: t.detach().to("cpu", torch.float32 if kept_f32 and name.endswith(kept_f32) else dtype).contiguous()
        for name, t in model.state_dict().items()
    }


def _base_name(name: str) -> str:
    return BASE_PREFIX + name[len("model.") :] if name.startswith("model.") else name


def _check_config(config, tensors: dict[str, Tensor], directory: Path) -> None:
    declared, found = getattr(config, "compressor_type", None), compressor_type_of(tensors)
    if declared is not None and declared != found:
        raise ValueError(f"{directory}: config says compressor_type {declared!r}, the tensors say {found!r}")
    if config.tie_word_embeddings and "lm_head.weight" in tensors:
        raise ValueError(f"{directory}: config ties the embeddings, but the files hold lm_head.weight")
    if not config.tie_word_embeddings and "lm_head.weight" not in tensors:
        raise ValueError(f"{directory}: config does not tie the embeddings, but lm_head.weight is missing")


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _write_json(directory: str | Path, name: str, document: dict) -> None:
    path = Path(directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
