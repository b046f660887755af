"""Model configuration: what a `config.json` says, as the text config of Hugging Face transformers.

Dense families and every merged PIPO directory hold it flat, the latter with `compressor_type` beside it; a plain
Qwen3.5 directory nests the text fields under `text_config` beside a vision tower.
"""

from __future__ import annotations

from transformers import PreTrainedConfig

from pipo.families import QWEN3_5, Family, family_of

ROPE_TYPES = ("default", "linear", "llama3", "yarn")

# Not fields of the transformers classes, but part of what a checkpoint says about itself.
_EXTRA_FIELDS = ("real_vocab_size",)


def make_config(**fields) -> PreTrainedConfig:
    """A text config from its fields; unnamed ones keep the values of the family, Qwen3.5 if there is no `model_type`.

    `rope_theta`, `rope_scaling` and `partial_rotary_factor` may be given at top level, as some files do. Raises
    ValueError for a family, a rotation or an attention that is not supported.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    family = family_of(fields.get("model_type", QWEN3_5.model_types[0]))
    extra = {name: fields[name] for name in _EXTRA_FIELDS if name in fields}
    known = {name: fields[name] for name in family.config_fields if name in fields}
    if "layer_types" not in known and family.recurrent and "full_attention_interval" in fields:
        known["full_attention_interval"] = fields["full_attention_interval"]
    known["rope_parameters"] = _rope_parameters(family, fields)
    _refuse_sliding_window(fields)
    config = family.config_class(**known)
    for name, value in extra.items():
        setattr(config, name, value)
    return config


def _rope_parameters(family: Family, fields: dict) -> dict:
    """The rotation in transformers' own words, from any of the ways in which files say it."""
    rope: dict = {"rope_type": "default"}
    if family is QWEN3_5:
        rope.update(rope_theta=1e7, partial_rotary_factor=0.25, mrope_section=[11, 11, 10], mrope_interleaved=True)
    rope.update({name: fields[name] for name in ("rope_theta", "partial_rotary_factor") if name in fields})
    for given in (fields.get("rope_scaling"), fields.get("rope_parameters")):
        rope.update({name: value for name, value in (given or {}).items() if value is not None})
    old_name = rope.pop("type", None)
    if old_name is not None and rope["rope_type"] == "default":
        rope["rope_type"] = old_name
    rope.setdefault("rope_theta", family.config_class.default_theta)
    if rope["rope_type"] not in ROPE_TYPES:
        raise ValueError(f"rope_type {rope['rope_type']!r} is not supported; expected one of {', '.join(ROPE_TYPES)}")
    return rope


def _refuse_sliding_window(fields: dict) -> None:
    """Qwen files name a window and switch it off; Mistral ones that have a window use it."""
    if fields.get("use_sliding_window", fields.get("model_type") == "mistral") and "sliding_window" in fields:
        raise ValueError(f"sliding_window {fields['sliding_window']}: attention over a window is not supported")


def read_config(document: dict) -> PreTrainedConfig:
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


def text_fields(config: PreTrainedConfig) -> dict:
    """The flat JSON object of a text config, as every layout writes it."""
    family = family_of(config)
    fields = {"model_type": family.model_types[0]}
    for name in (*family.config_fields, *_EXTRA_FIELDS):
        value = getattr(config, name, None)
        if value is not None:
            fields[name] = value
    return {**fields, **family.constants}


def head_dim(config: PreTrainedConfig) -> int:
    """Elements of one attention head; where a config does not say, heads share the hidden size."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def pad_token_id(config: PreTrainedConfig) -> int:
    """PAD: the config's own id, or `<|endoftext|>` where the vocabulary is that of Qwen's family."""
    if config.pad_token_id is not None:
        return config.pad_token_id
    vocabulary = family_of(config).vocabulary
    if vocabulary is not None and config.vocab_size >= vocabulary.real:
        return vocabulary.pad
    raise ValueError(
        f"config has no pad_token_id and its vocabulary ({config.vocab_size}) is not Qwen's; add the field"
    )


def real_vocab_size(config: PreTrainedConfig) -> int:
    """Rows of the output matrix that are tokens; the rows from here on are never sampled or reported."""
    declared = getattr(config, "real_vocab_size", None)
    if declared is not None:
        return declared
    vocabulary = family_of(config).vocabulary
    return vocabulary.real if vocabulary is not None and config.vocab_size in vocabulary.rows else config.vocab_size
