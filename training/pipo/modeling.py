"""PIPO in PyTorch: pair in, pair out.

The backbone is Hugging Face transformers' own text model of one of the families of `pipo.families`; here stand the
compressor, the draft head (MTP), the confidence head and the forward passes that join them. Parameter names are the
names of the checkpoint's tensors, so `state_dict()` is what is written to disk.

Token ids are `x_0 … x_{2L-1}`; pair `j` is `(x_{2j}, x_{2j+1})`:

    z_j  = compressor([E x_{2j} ; E x_{2j+1}])
    h_j  = norm(backbone(z_0 … z_j))                  logits for the first token  x_{2j+2}
    m_j  = mtp(E x_{2j+2}, h_j), causal over pairs    logits for the second token x_{2j+3}
    c_j  = sigmoid(confidence_head(h_j, m_j))         probability that the second token is worth keeping
    g_j  = sigmoid(pre_gate(h_j))                     the same, asked before the draft head runs; optional

The gated delta rule is looked up in `transformers.models.qwen3_5.modeling_qwen3_5` at every call, so a faster
one is plugged in by `replace_gated_delta_rule`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.masking_utils import create_causal_mask
from transformers.models.qwen3_5 import modeling_qwen3_5

from pipo.families import family_of

COMPRESSOR_TYPES = ("linear", "mlp")


@dataclass
class PairOutput:
    """Teacher-forced outputs of one pair forward.

    hidden             [B, L, H]      backbone output after the final norm
    first_logits       [B, L, V]      row j predicts x_{2j+2}
    draft_hidden       [B, L-1, H]    row j has seen x_{2j+2}; the last pair's next token is unknown
    second_logits      [B, L-1, V]    row j predicts x_{2j+3}
    confidence_logits  [B, L-1]
    """

    hidden: Tensor
    first_logits: Tensor
    draft_hidden: Tensor
    second_logits: Tensor
    confidence_logits: Tensor


class LinearCompressor(nn.Module):
    """`W [even ; odd] + b`, starting as the plain sum of the two embeddings."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(2 * hidden_size, hidden_size)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.linear.weight.copy_(_side_by_side_identity(self.linear.out_features))
        self.linear.bias.zero_()

    def forward(self, pairs: Tensor) -> Tensor:
        """[..., 2H] → [..., H]"""
        return self.linear(pairs)


class MlpCompressor(nn.Module):
    """`W2 SiLU(W1 [even ; odd] + b1) + b2`, starting as SiLU(even) + SiLU(odd)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * hidden_size, 2 * hidden_size), nn.SiLU(), nn.Linear(2 * hidden_size, hidden_size)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        inner, outer = self.mlp[0], self.mlp[2]
        nn.init.eye_(inner.weight)
        outer.weight.copy_(_side_by_side_identity(outer.out_features))
        inner.bias.zero_()
        outer.bias.zero_()

    def forward(self, pairs: Tensor) -> Tensor:
        """[..., 2H] → [..., H]"""
        return self.mlp(pairs)


class DraftHead(nn.Module):
    """The MTP block: one full-attention layer of the family over pairs. It shares embedding and output matrix."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        family, size, eps = family_of(config), config.hidden_size, config.rms_norm_eps
        self.config = copy.deepcopy(config)
        self.config.layer_types = ["full_attention"]
        self.config.num_hidden_layers = 1
        self.pre_fc_norm_embedding = family.norm_class(size, eps=eps)
        self.pre_fc_norm_hidden = family.norm_class(size, eps=eps)
        self.fc = nn.Linear(2 * size, size, bias=False)
        self.layers = nn.ModuleList([family.layer_class(self.config, 0)])
        self.norm = family.norm_class(size, eps=eps)
        self.rotary = family.rotary_class(self.config)
        _init_linears(self, config.initializer_range)

    def forward(self, embeddings: Tensor, hidden: Tensor) -> Tensor:
        """Draft hidden of every row, each seeing rows 0…j at position ids 0…j.

        embeddings [B, N, H] raw embedding of the token that follows row j; hidden [B, N, H] backbone output
        after its final norm → [B, N, H].
        """
        joined = torch.cat([self.pre_fc_norm_embedding(embeddings), self.pre_fc_norm_hidden(hidden)], dim=-1)
        x = self.fc(joined)
        positions = torch.arange(x.shape[1], device=x.device)[None].expand(x.shape[0], -1)
        mask = create_causal_mask(
            config=self.config, inputs_embeds=x, attention_mask=None, past_key_values=None, position_ids=positions
        )
        rotary = self.rotary(x, positions)
        for layer in self.layers:
            x = layer(x, position_embeddings=rotary, attention_mask=mask, position_ids=positions)
        return self.norm(x)


class ConfidenceHead(nn.Module):
    """Scores a draft from the two hidden vectors alone, before the draft token is chosen."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        size = config.hidden_size
        self.norm = family_of(config).norm_class(2 * size, eps=config.rms_norm_eps)
        self.fc1 = nn.Linear(2 * size, size, bias=False)
        self.fc2 = nn.Linear(size, 1, bias=False)
        _init_linears(self, config.initializer_range)

    def forward(self, hidden: Tensor, draft_hidden: Tensor) -> Tensor:
        """[..., H], [..., H] → logits [...]"""
        joined = self.norm(torch.cat([hidden, draft_hidden], dim=-1))
        return self.fc2(F.silu(self.fc1(joined))).squeeze(-1)


class PipoModel(nn.Module):
    """A text model that can also read and write pairs.

    `compressor_type=None` gives the plain model; `draft_head` then says whether the MTP block that base
    checkpoints carry is kept. Batches must have equal lengths (no padding mask).
    """

    base_model_prefix = "model"  # peft asks a model with a transformers config for it

    def __init__(self, config: PreTrainedConfig, compressor_type: str | None = None, draft_head: bool | None = None):
        super().__init__()
        self.config = config
        self.model = family_of(config).model_class(config)
        # PAD is an ordinary input here: its embedding takes part in the compressor and must be able to learn.
        self.model.embed_tokens.padding_idx = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
            _init_linears(self.lm_head, config.initializer_range)
        with torch.no_grad():
            self.model.embed_tokens.weight.normal_(0.0, config.initializer_range)
        self.compressor_type = None
        if draft_head or compressor_type is not None:
            self.mtp = DraftHead(config)
        if compressor_type is not None:
            self.add_pair_modules(compressor_type)

    def add_pair_modules(self, compressor_type: str) -> None:
        """Turns a plain model into a PIPO model, with the initial values from before fine-tuning.

        Existing MTP weights are kept.
        """
        if compressor_type not in COMPRESSOR_TYPES:
            raise ValueError(f"compressor_type is {compressor_type!r}; expected one of {', '.join(COMPRESSOR_TYPES)}")
        kind = LinearCompressor if compressor_type == "linear" else MlpCompressor
        like = self.model.embed_tokens.weight
        if not self.has_draft_head:
            self.mtp = DraftHead(self.config).to(like)
        self.compressor = kind(self.config.hidden_size).to(like)
        self.confidence_head = ConfidenceHead(self.config).to(like)
        self.compressor_type = compressor_type

    def add_pre_gate(self) -> None:
        """One linear layer on the backbone's hidden that can spare the draft head's work; starts undecided."""
        like = self.model.embed_tokens.weight
        self.pre_gate = nn.Linear(self.config.hidden_size, 1).to(like)
        nn.init.zeros_(self.pre_gate.weight)
        nn.init.zeros_(self.pre_gate.bias)

    @property
    def has_pre_gate(self) -> bool:
        return hasattr(self, "pre_gate")

    @property
    def has_draft_head(self) -> bool:
        return hasattr(self, "mtp")

    @property
    def is_pair_model(self) -> bool:
        return self.compressor_type is not None

    def embed(self, ids: Tensor) -> Tensor:
        """[...] → [..., H]"""
        return self.model.embed_tokens(ids)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., V], through the untied head or the embedding matrix."""
        if self.config.tie_word_embeddings:
            return F.linear(hidden, self.model.embed_tokens.weight)
        return self.lm_head(hidden)

    def plain_hidden(self, ids: Tensor) -> Tensor:
        """ids [B, T] → hidden [B, T, H] of one-token-per-position decoding."""
        return self.model(input_ids=ids, use_cache=False).last_hidden_state

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, T] → logits [B, T, V] of plain decoding; row t predicts x_{t+1}."""
        return self.logits(self.plain_hidden(ids))

    def compress(self, ids: Tensor) -> Tensor:
        """ids [B, 2L] → latents [B, L, H]"""
        if ids.shape[1] % 2:
            raise ValueError(f"pair forward needs an even number of ids, got {ids.shape[1]}; append PAD")
        return self.compressor(self.embed(ids).unflatten(1, (-1, 2)).flatten(2))

    def pair_hidden(self, ids: Tensor) -> Tensor:
        """ids [B, 2L] → hidden [B, L, H]"""
        return self.model(inputs_embeds=self.compress(ids), use_cache=False).last_hidden_state

    def draft_hidden(self, hidden: Tensor, next_ids: Tensor) -> Tensor:
        """hidden [B, N, H] and the token that follows each row [B, N] → draft hidden [B, N, H].

        In pair mode row j is followed by x_{2j+2}; the same call serves plain mode, where row t is followed by
        x_{t+1} and its draft predicts x_{t+2}.
        """
        return self.mtp(self.embed(next_ids), hidden)

    def pair_forward(self, ids: Tensor) -> PairOutput:
        """ids [B, 2L] → every teacher-forced output, the draft head seeing the whole sequence."""
        hidden = self.pair_hidden(ids)
        known = hidden[:, :-1]
        draft = self.draft_hidden(known, ids[:, 2::2])
        return PairOutput(
            hidden=hidden,
            first_logits=self.logits(hidden),
            draft_hidden=draft,
            second_logits=self.logits(draft),
            confidence_logits=self.confidence_head(known, draft),
        )


@contextmanager
def replace_gated_delta_rule(chunk_rule: Callable):
    """Within the block, gated-delta layers call `chunk_rule` instead of transformers' chunked PyTorch code.

    It takes the same arguments: query, key [B, T, Nk, dk], value [B, T, Nv, dv], g, beta [B, T, Nv], and the
    keywords of `torch_chunk_gated_delta_rule`; it returns (output [B, T, Nv, dv], final state or None).
    """
    previous = modeling_qwen3_5.torch_chunk_gated_delta_rule
    modeling_qwen3_5.torch_chunk_gated_delta_rule = chunk_rule
    try:
        yield
    finally:
        modeling_qwen3_5.torch_chunk_gated_delta_rule = previous


def _side_by_side_identity(size: int) -> Tensor:
    return torch.cat([torch.eye(size), torch.eye(size)], dim=1)


@torch.no_grad()
def _init_linears(module: nn.Module, std: float) -> None:
    for child in module.modules():
        if isinstance(child, nn.Linear):
            child.weight.normal_(0.0, std)
            if child.bias is not None:
                child.bias.zero_()
