"""Random weights that make every part of the model matter.

Fresh initial values would hide errors: logits would be flat, norm weights zero, recurrent states alike. Here
logits spread over several units, norms scale, some heads forget at once and some hardly ever, the confidence
moves across most of (0, 1), and PAD and rows beyond the real vocabulary often hold the best logit, so that
leaving out the ban or the mask shows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipo.config import pad_token_id, real_vocab_size
from pipo.families import Family, family_of
from pipo.modeling import PipoModel

# With recurrent layers, output projections are damped so that the residual stream keeps its size. Without them, layers
# must outweigh the embedding and look sharply at single positions, or every token would be followed by itself.
_RECURRENT_GAINS = {"o_proj.weight": 0.6, "down_proj.weight": 0.6, "out_proj.weight": 0.6}
_DENSE_GAINS = {"q_proj.weight": 4.0, "down_proj.weight": 4.0}
_GAINS = {"confidence_head.fc2.weight": 3.0, "pre_gate.weight": 2.0}


@torch.no_grad()
def randomize(model: PipoModel, seed: int) -> PipoModel:
    """Overwrites every parameter; equal seeds and shapes give equal weights."""
    generator = torch.Generator().manual_seed(seed)
    family = family_of(model.config)
    for name, parameter in model.named_parameters():
        parameter.copy_(_random_values(name, parameter, family, generator))
    _raise_forbidden_rows(model)
    return model


def _random_values(name: str, like: Tensor, family: Family, generator: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=generator)
    if name in ("model.embed_tokens.weight", "lm_head.weight"):
        return min(0.35, 3.5 / math.sqrt(like.shape[-1])) * noise  # logits of a few units at every width
    if name.endswith("A_log"):
        return torch.empty(like.shape).uniform_(math.log(0.02), math.log(4.0), generator=generator)
    if name.endswith("dt_bias"):
        return noise - 1.0
    if name.endswith("conv1d.weight"):
        return 0.5 * noise
    if name.endswith("linear_attn.norm.weight"):
        return 1.0 + 0.2 * noise
    if name.endswith("norm.weight") or ".pre_fc_norm" in name or "layernorm" in name:
        return (0.0 if family.zero_centred_norms else 1.0) + 0.2 * noise
    if name.endswith("_proj.bias"):
        return 0.5 * noise  # of queries, keys and values: as large as what they are added to
    if name.endswith("bias"):
        return 0.1 * noise
    gains = _RECURRENT_GAINS if family.recurrent else _DENSE_GAINS
    gain = _GAINS.get(name) or gains.get(".".join(name.split(".")[-2:]), 1.0)
    return gain * noise / math.sqrt(like.shape[-1])


def _raise_forbidden_rows(model: PipoModel) -> None:
    head = model.model.embed_tokens.weight if model.config.tie_word_embeddings else model.lm_head.weight
    head[pad_token_id(model.config)] *= 1.7
    head[real_vocab_size(model.config) :] *= 1.4
