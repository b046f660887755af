"""Makes the GGUF files of `test/golden/gguf`: tiny random models as converters write them, and what they must compute.

    cd training && python -m goldens.make_gguf            all of them
    cd training && python -m goldens.make_gguf qwen2-f32  one

Expected numbers come from transformers in fp32, from the values that the stored blocks stand for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, dequantize
from gguf.constants import RopeScalingType

from goldens.gguf_blocks import encode
from goldens.make_goldens import GOLDEN_DIR, compact_json
from goldens.random_weights import randomize
from goldens.record import record
from goldens.tables import GoldenText, config_entries
from goldens.tiny_tokenizer import TEXTS, TinyTokenizer, make_tokenizer
from pipo.config import head_dim, make_config
from pipo.gguf_file import LAYER_NAMES, OTHER_NAMES
from pipo.modeling import PipoModel

GGUF_DIR = GOLDEN_DIR / "gguf"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROMPT_LENGTHS = (24, 17)
# Wider than elsewhere: packing blocks anew may move logits a little, and must not change an order.
TOP_GAP = 2e-3
THIRTY_TWOS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q8_0", "BF16", "F16")
SUPER_BLOCKS = ("Q4_K", "Q6_K", "Q5_K", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K")


@dataclass
class GgufFixture:
    """`matrices` are the formats of the layers' matrices, in the order of the model, over and over."""

    name: str
    seed: int
    fields: dict
    matrices: tuple[str, ...]
    embedding: str
    head: str | None = None  # None: tied
    pre: str = "smollm"
    padding_rows: int = 0
    fim_ids: bool = False  # whether the metadata name the ids of fill-in-the-middle
    tokenizer: TinyTokenizer = field(init=False)

    def __post_init__(self) -> None:
        self.tokenizer = make_tokenizer(self.pre)

    @property
    def family(self) -> str:
        return self.fields["model_type"]

    def id_of(self, token: str) -> int:
        return self.tokenizer.tokens.index(token)


def sizes(family: str, hidden: int, inner: int, layers: int, heads: tuple[int, int, int], **more) -> dict:
    """heads = (Nq, Nkv, head_dim)"""
    return {
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "head_dim": heads[2],
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e4,
        **more,
    }


def llama(**rope) -> dict:
    more = {"rope_parameters": rope, "max_position_embeddings": LONGEST[rope["rope_type"]]} if rope else {}
    return sizes("llama", 32, 64, 2, (4, 2, 8), rms_norm_eps=1e-5, **more)


LONGEST = {"linear": 2048, "yarn": 1024, "llama3": 65536}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 256}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip

FIXTURES = (
    GgufFixture(
        "qwen2-f32", 1, sizes("qwen2", 32, 64, 2, (2, 1, 16), rope_theta=1e6), ("F32",), "F32", None, "qwen2", 7
    ),
    GgufFixture(
        "qwen3-f16", 2, sizes("qwen3", 32, 64, 2, (4, 2, 16), rope_theta=1e6), ("F16",), "F16", "F16", "qwen2", 3, True
    ),
    GgufFixture("llama-q8_0", 3, llama(), ("Q8_0",), "Q8_0"),
    GgufFixture("llama-blocks-of-32", 4, llama(), THIRTY_TWOS, "Q5_0", "Q8_0"),
    GgufFixture("llama-blocks-of-256", 5, sizes("llama", 256, 256, 1, (4, 1, 32)), SUPER_BLOCKS, "Q6_K", fim_ids=True),
    GgufFixture("llama-linear", 6, llama(rope_type="linear", rope_theta=1e5, factor=4.0), ("Q8_0",), "Q8_0"),
    GgufFixture("llama-yarn", 7, llama(**YARN), ("Q8_0",), "Q8_0"),
    GgufFixture("llama-llama3", 8, llama(**LLAMA3), ("Q8_0",), "Q8_0"),
)


def make(fixture: GgufFixture) -> None:
    """Writes the file, gives the model the values that are stored, and records what it computes."""
    model = randomize(PipoModel(_config(fixture)), fixture.seed).eval()
    generator = np.random.default_rng(fixture.seed)
    writer = GGUFWriter(GGUF_DIR / f"{fixture.name}.gguf", fixture.family)
    _add_metadata(writer, fixture, model)
    _add_tokenizer(writer, fixture, model.config.vocab_size)
    for name, parameter, kind in _stored_tensors(fixture, model):
        with torch.no_grad():
            _add_tensor(writer, name, parameter, kind, model, generator)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    document = {
        "config": [nested(config_entries(model))],
        **record(model, PROMPT_LENGTHS, fixture.seed, GoldenText(), variety=8, top_gap=TOP_GAP),
        "tokenize": [{"text": text, "ids": fixture.tokenizer.encode(text)} for text in TEXTS],
    }
    (GGUF_DIR / f"{fixture.name}.json").write_text(compact_json(document), encoding="utf-8")
    print(f"{fixture.name}: {(GGUF_DIR / f'{fixture.name}.gguf').stat().st_size / 1e3:.0f} kB")


def _config(fixture: GgufFixture):
    """GGUF keeps floats in 32 bits: so does the config, or expected numbers would be of another model."""
    real = len(fixture.tokenizer.tokens)
    fields = {name: float(np.float32(v)) if isinstance(v, float) else v for name, v in fixture.fields.items()}
    return make_config(
        **fields,
        vocab_size=real + fixture.padding_rows,
        real_vocab_size=real,
        pad_token_id=fixture.id_of("<|endoftext|>"),
        tie_word_embeddings=fixture.head is None,
    )


def _add_metadata(writer: GGUFWriter, fixture: GgufFixture, model: PipoModel) -> None:
    config, size = model.config, head_dim(model.config)
    writer.add_name(f"Tiny {fixture.name}")
    writer.add_license("apache-2.0")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if size * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(size)
        writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_quantization_version(2)
    if fixture.family == "llama":
        writer.add_rope_dimension_count(size)
    _add_rope(writer, model, config.rope_parameters)


def _add_rope(writer: GGUFWriter, model: PipoModel, rope: dict) -> None:
    """Llama 3's stretching goes into a table of divisors of the frequencies, as its converter has it."""
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "llama3":
        half = head_dim(model.config) // 2
        plain = rope["rope_theta"] ** (-torch.arange(half) / half)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).numpy().astype(np.float32))
    elif rope["rope_type"] != "default":
        writer.add_rope_scaling_type(RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
        if rope["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def _add_tokenizer(writer: GGUFWriter, fixture: GgufFixture, rows: int) -> None:
    tokens = fixture.tokenizer.tokens
    padding = [f"[PAD{i}]" for i in range(len(tokens), rows)]
    specials = len(tokens) - len(fixture.tokenizer.pieces)
    kinds = [TokenType.NORMAL] * (len(tokens) - specials) + [TokenType.CONTROL] * specials
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(fixture.pre)
    writer.add_token_list([*tokens, *padding])
    writer.add_token_types([*kinds, *([TokenType.UNUSED] * len(padding))])
    writer.add_token_merges(fixture.tokenizer.merges)
    writer.add_bos_token_id(fixture.id_of("<|endoftext|>"))
    writer.add_eos_token_id(fixture.id_of("<|im_end|>"))
    writer.add_pad_token_id(fixture.id_of("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    if fixture.fim_ids:
        names = {"pre": "prefix", "suf": "suffix", "mid": "middle", "pad": "pad"}
        for key, name in names.items():
            writer.add_uint32(f"tokenizer.ggml.fim_{key}_token_id", fixture.id_of(f"<|fim_{name}|>"))
        writer.add_uint32("tokenizer.ggml.fim_rep_token_id", fixture.id_of("<|repo_name|>"))
        writer.add_uint32("tokenizer.ggml.fim_sep_token_id", fixture.id_of("<|file_sep|>"))


def _stored_tensors(fixture: GgufFixture, model: PipoModel) -> Iterator[tuple[str, torch.nn.Parameter, str]]:
    """Name in GGUF, parameter and format of every tensor."""
    formats = cycle(fixture.matrices)
    layer = {ours: theirs for theirs, ours in LAYER_NAMES.items()}
    other = {ours: theirs for theirs, ours in OTHER_NAMES.items()}
    for name, parameter in model.named_parameters():
        stem, _, kind = name.rpartition(".")
        if stem in other:
            chosen = {"token_embd": fixture.embedding, "output": fixture.head}.get(other[stem], "F32")
            yield f"{other[stem]}.{kind}", parameter, chosen
        else:
            number, _, rest = stem.removeprefix("model.layers.").partition(".")
            chosen = next(formats) if parameter.ndim == 2 else "F32"
            yield f"blk.{number}.{layer[rest]}.{kind}", parameter, chosen


def _add_tensor(
    writer: GGUFWriter, name: str, parameter: torch.nn.Parameter, kind: str, model: PipoModel, generator
) -> None:
    """Stores a tensor, and gives the parameter the value that is stored."""
    values = parameter.numpy()
    interleaved = model.config.model_type == "llama" and name.endswith(("attn_q.weight", "attn_k.weight"))
    if interleaved:  # rows [i, i + head_dim / 2] become neighbours
        heads = values.reshape(-1, 2, head_dim(model.config) // 2, values.shape[1])
        values = heads.swapaxes(1, 2).reshape(values.shape)
    stored = encode(values, kind, generator)
    read = dequantize(stored, GGMLQuantizationType[kind])
    if interleaved:
        heads = read.reshape(-1, head_dim(model.config) // 2, 2, values.shape[1])
        read = heads.swapaxes(1, 2).reshape(values.shape)
    parameter.copy_(torch.from_numpy(read.copy()))
    writer.add_tensor(name, stored, raw_dtype=GGMLQuantizationType[kind])


def nested(entries: dict[str, object]) -> dict[str, object]:
    """`ropeScaling.factor` becomes a field of the object `ropeScaling`."""
    document: dict = {}
    for key, value in entries.items():
        outer, _, inner = key.rpartition(".")
        (document.setdefault(outer, {}) if outer else document)[inner] = value
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="files to make, without .gguf; default: all")
    names = parser.parse_args().names
    torch.set_num_threads(1)  # the matrices are tiny
    GGUF_DIR.mkdir(exist_ok=True)
    for fixture in FIXTURES:
        if not names or fixture.name in names:
            make(fixture)


if __name__ == "__main__":
    main()
