"""Model configuration: what a `config.json` says, as the text config of Hugging Face transformers.

Two layouts exist on disk. A plain Qwen3.5 directory nests the text fields under `text_config` beside a
vision tower; a merged PIPO directory holds them flat, with `compressor_type` beside them.
"""

from __future__ import annotations

from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig

PIPO_ARCHITECTURE = "Qwen3_5ForCausalPIPO"
PLAIN_ARCHITECTURE = "Qwen3_5ForConditionalGeneration"

QWEN_VOCAB_SIZE = 248320
QWEN_REAL_VOCAB_SIZE = 248077
QWEN_PAD_TOKEN_ID = 248044

# Everything that decides shapes or numerics, in the order in which it is written.
_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "max_position_embeddings",
    "tie_word_embeddings",
    "attention_bias",
    "attention_dropout",
    "linear_conv_kernel_dim",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "layer_types",
    "rope_parameters",
    "initializer_range",
    "pad_token_id",
    "eos_token_id",
)

# Not fields of the transformers class, but part of what a checkpoint says about itself.
_EXTRA_FIELDS = ("real_vocab_size",)


def make_config(**fields) -> Qwen3_5TextConfig:
    """A text config from its fields; unnamed ones keep Qwen3.5's values.

    `rope_theta` and `partial_rotary_factor` may be given at top level, as some files do.
    """
    fields = dict(fields)
    rope = {
        "rope_type": "default",
        "rope_theta": fields.pop("rope_theta", None) or 1e7,
        "partial_rotary_factor": fields.pop("partial_rotary_factor", None) or 0.25,
        "mrope_section": [11, 11, 10],
        "mrope_interleaved": True,
    }
    rope.update({k: v for k, v in (fields.pop("rope_parameters", None) or {}).items() if v is not None})
    extra = {name: fields.pop(name) for name in _EXTRA_FIELDS if name in fields}
    known = {name: fields[name] for name in _FIELDS if fields.get(name) is not None and name != "rope_parameters"}
    if "layer_types" not in known and fields.get("full_attention_interval") is not None:
        known["full_attention_interval"] = fields["full_attention_interval"]
    config = Qwen3_5TextConfig(**known, rope_parameters=rope)
    for name, value in extra.items():
        setattr(config, name, value)
    return config


def read_config(document: dict) -> Qwen3_5TextConfig:
    """The text config of a parsed `config.json`, flat or nested."""
    fields = dict(document.get("text_config", document))
    for name in ("tie_word_embeddings", *_EXTRA_FIELDS):
        if name not in fields and name in document:
            fields[name] = document[name]
    if document.get("compressor_type") is not None:
        fields["compressor_type"] = document["compressor_type"]
    config = make_config(**fields)
    config.compressor_type = fields.get("compressor_type")
    return config


def text_fields(config: Qwen3_5TextConfig) -> dict:
    """The flat JSON object of a text config, as both layouts write it."""
    fields = {"model_type": "qwen3_5_text"}
    for name in (*_FIELDS, *_EXTRA_FIELDS):
        value = getattr(config, name, None)
        if value is not None:
            fields[name] = value
    fields["attn_output_gate"] = True
    fields["mamba_ssm_dtype"] = "float32"
    return fields


def pad_token_id(config: Qwen3_5TextConfig) -> int:
    """PAD: the config's own id, or Qwen's `<|endoftext|>` for the full vocabulary."""
    if config.pad_token_id is not None:
        return config.pad_token_id
    if config.vocab_size >= QWEN_REAL_VOCAB_SIZE:
        return QWEN_PAD_TOKEN_ID
    raise ValueError(
        f"config has no pad_token_id and its vocabulary ({config.vocab_size}) is not Qwen's; add the field"
    )


def real_vocab_size(config: Qwen3_5TextConfig) -> int:
    """Rows of the output matrix that are tokens; the rows from here on are never sampled or reported."""
    declared = getattr(config, "real_vocab_size", None)
    if declared is not None:
        return declared
    return QWEN_REAL_VOCAB_SIZE if config.vocab_size == QWEN_VOCAB_SIZE else config.vocab_size
