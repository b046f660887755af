"""Models that runs start from: a run's `checkpoint.pt` with its size file, or the directory of a released model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from pipo.adapter import wrap_with_adapter
from pipo.checkpoint import compressor_type_of, load_model
from pipo.config import make_config
from pipo.modeling import PipoModel


def new_model(config_path: Path, tokenizer: Tokenizer) -> PipoModel:
    """A freshly initialised plain model of a size file, with the tokenizer's ids in its config."""
    config = make_config(
        **json.loads(config_path.read_text("utf-8")),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        real_vocab_size=tokenizer.get_vocab_size(),
    )
    return PipoModel(config)


def load_backbone(model: PipoModel, checkpoint: Path) -> None:
    """Takes the backbone of a plain or a pair checkpoint; the layers of one are a good start for the other."""
    state = torch.load(checkpoint, weights_only=True)["model"]
    model.load_state_dict({name: value for name, value in state.items() if name in model.state_dict()})


def read_model(path: Path, config: Path | None, tokenizer: Tokenizer, dtype: torch.dtype = torch.float32) -> PipoModel:
    """The model of a checkpoint directory or of a run's `checkpoint.pt`, which a size file belongs to.

    What it contains follows the tensors. Raises ValueError where the size file is missing.
    """
    if path.is_dir():
        return load_model(path, dtype)
    if config is None:
        raise ValueError(f"{path} needs --config, its size file")
    state = torch.load(path, weights_only=True, map_location="cpu")["model"]
    model = new_model(config, tokenizer)
    if compressor_type := compressor_type_of(state):
        model.add_pair_modules(compressor_type)
    if "pre_gate.weight" in state:
        model.add_pre_gate()
    model.load_state_dict(state)
    return model.to(dtype)


def with_adapter(model: PipoModel, rank: int, **options: object) -> tuple[PipoModel, torch.nn.Module]:
    """The pair model to run and the module that is optimised: itself (`rank` 0), or the adapter around it.

    `options` are those of `wrap_with_adapter`.
    """
    if not rank:
        return model, model
    wrapped = wrap_with_adapter(model, rank, 2 * rank, **options)
    return wrapped.base_model.model, wrapped


def save_activations_memory(model: PipoModel) -> None:
    """Backbone layers keep their inputs only and run again in the backward pass."""
    enable = getattr(model.model, "activation_checkpointing_enable", None) or model.model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
