"""The families of language models that PIPO is built on: which of Hugging Face's classes compute each, and its files.

Everything else in this package is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn
from transformers import PreTrainedConfig
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel, LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2Model, Qwen2RMSNorm, Qwen2RotaryEmbedding
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3Model, Qwen3RMSNorm, Qwen3RotaryEmbedding
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import (
    Qwen3_5DecoderLayer,
    Qwen3_5RMSNorm,
    Qwen3_5TextModel,
    Qwen3_5TextRotaryEmbedding,
)

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
_NUMERICS = ("hidden_act", "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings")
_RECURRENCE = (
    "linear_conv_kernel_dim",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "layer_types",
)
_REST = ("rope_parameters", "initializer_range", "pad_token_id", "eos_token_id")


@dataclass(frozen=True)
class Vocabulary:
    """What the publisher's tokenizer has and a published `config.json` does not say."""

    rows: tuple[int, ...]  # vocab_size of configs that it belongs to, rows of padding included
    real: int
    pad: int


@dataclass(frozen=True)
class Family:
    """One architecture.

    `config_fields` are everything in `config.json` that decides shapes or numerics, in the order in which it is
    written; `constants` are written with them and say what the others cannot.
    """

    name: str
    model_types: tuple[str, ...]  # of config.json: the first is written, the others compute the same
    plain_architecture: str
    pair_architecture: str
    config_class: type[PreTrainedConfig]
    model_class: type[nn.Module]
    layer_class: type[nn.Module]
    norm_class: type[nn.Module]
    rotary_class: type[nn.Module]
    config_fields: tuple[str, ...]
    constants: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    vocabulary: Vocabulary | None = None
    zero_centred_norms: bool = False  # norms multiply by one plus their weight
    recurrent: bool = False  # some layers are gated delta layers
    nested_in: str | None = None  # model_type of the larger model (with a vision tower) that plain directories hold


QWEN3_5 = Family(
    name="qwen3_5",
    model_types=("qwen3_5_text", "qwen3_5"),
    plain_architecture="Qwen3_5ForConditionalGeneration",
    pair_architecture="Qwen3_5ForCausalPIPO",
    config_class=Qwen3_5TextConfig,
    model_class=Qwen3_5TextModel,
    layer_class=Qwen3_5DecoderLayer,
    norm_class=Qwen3_5RMSNorm,
    rotary_class=Qwen3_5TextRotaryEmbedding,
    config_fields=(*_SIZES, "head_dim", *_NUMERICS, "attention_bias", "attention_dropout", *_RECURRENCE, *_REST),
    constants=MappingProxyType({"attn_output_gate": True, "mamba_ssm_dtype": "float32"}),
    vocabulary=Vocabulary(rows=(248320,), real=248077, pad=248044),
    zero_centred_norms=True,
    recurrent=True,
    nested_in="qwen3_5",
)

QWEN2 = Family(
    name="qwen2",
    model_types=("qwen2",),
    plain_architecture="Qwen2ForCausalLM",
    pair_architecture="Qwen2ForCausalPIPO",
    config_class=Qwen2Config,
    model_class=Qwen2Model,
    layer_class=Qwen2DecoderLayer,
    norm_class=Qwen2RMSNorm,
    rotary_class=Qwen2RotaryEmbedding,
    config_fields=(*_SIZES, "head_dim", *_NUMERICS, "attention_dropout", *_REST),
    vocabulary=Vocabulary(rows=(151936, 152064), real=151665, pad=151643),
)

QWEN3 = Family(
    name="qwen3",
    model_types=("qwen3",),
    plain_architecture="Qwen3ForCausalLM",
    pair_architecture="Qwen3ForCausalPIPO",
    config_class=Qwen3Config,
    model_class=Qwen3Model,
    layer_class=Qwen3DecoderLayer,
    norm_class=Qwen3RMSNorm,
    rotary_class=Qwen3RotaryEmbedding,
    config_fields=(*_SIZES, "head_dim", *_NUMERICS, "attention_bias", "attention_dropout", *_REST),
    vocabulary=Vocabulary(rows=(151936,), real=151669, pad=151643),
)

LLAMA = Family(
    name="llama",
    model_types=("llama", "mistral"),
    plain_architecture="LlamaForCausalLM",
    pair_architecture="LlamaForCausalPIPO",
    config_class=LlamaConfig,
    model_class=LlamaModel,
    layer_class=LlamaDecoderLayer,
    norm_class=LlamaRMSNorm,
    rotary_class=LlamaRotaryEmbedding,
    config_fields=(*_SIZES, "head_dim", *_NUMERICS, "attention_bias", "mlp_bias", "attention_dropout", *_REST),
)

FAMILIES = (QWEN3_5, QWEN2, QWEN3, LLAMA)


def family_of(config: PreTrainedConfig | str) -> Family:
    """The family of a config or of its `model_type`; ValueError names those that there are."""
    model_type = config if isinstance(config, str) else config.model_type
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = ", ".join(t for family in FAMILIES for t in family.model_types)
    raise ValueError(f"model_type {model_type!r} is not supported; expected one of {known}")
