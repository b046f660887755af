"""Every family against transformers' own classes and against a decoder that is written out head by head."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from tiny_models import dense_config, dense_model, random_ids
from transformers import AutoModelForCausalLM, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from pipo.adapter import merge_adapter, wrap_with_adapter
from pipo.checkpoint import load_model, save_pipo, save_plain
from pipo.config import make_config, pad_token_id, read_config, real_vocab_size, text_fields
from pipo.decoding import decode_pairs, decode_plain
from pipo.families import FAMILIES, QWEN2, QWEN3, QWEN3_5, family_of
from pipo.generation import generate_pairs, generate_plain
from pipo.modeling import PipoModel
from pipo.sft import add_pair_modules

DENSE = ("qwen2", "qwen3", "llama")
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 1e4},
    "linear": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
    "llama3": {
        "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 8.0, "beta_slow": 0.5,
    },
}  # fmt: skip


# --- A dense decoder, written out ---


def frequencies(rope: dict, size: int) -> tuple[list[float], float]:
    """Radians per position of every pair of elements, and the factor of cosine and sine."""
    plain = [rope["rope_theta"] ** (-2 * i / size) for i in range(size // 2)]
    kind, factor = rope["rope_type"], rope.get("factor", 1.0)
    if kind == "default":
        return plain, 1.0
    if kind == "linear":
        return [f / factor for f in plain], 1.0
    trained = rope["original_max_position_embeddings"]
    turns = [trained * f / (2 * math.pi) for f in plain]  # of each pair within the trained length
    if kind == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = [min(max((t - low) / (high - low), 0.0), 1.0) for t in turns]
        return [f * (k + (1 - k) / factor) for f, k in zip(plain, kept, strict=True)], 1.0
    pair_of = [
        size * math.log(trained / (n * 2 * math.pi)) / (2 * math.log(rope["rope_theta"]))
        for n in (rope["beta_fast"], rope["beta_slow"])
    ]
    first, last = max(math.floor(pair_of[0]), 0), min(math.ceil(pair_of[1]), size - 1)
    stretched = [min(max((i - first) / (last - first), 0.0), 1.0) for i in range(size // 2)]
    scaled = [f * ((1 - s) + s / factor) for f, s in zip(plain, stretched, strict=True)]
    return scaled, 0.1 * math.log(factor) + 1


def rotate(x: torch.Tensor, position: int, rope: dict) -> torch.Tensor:
    """x [head_dim]: element i turns with element i + head_dim / 2."""
    y, half = x.clone(), len(x) // 2
    angles, amplitude = frequencies(rope, len(x))
    for i in range(half):
        c, s = amplitude * math.cos(position * angles[i]), amplitude * math.sin(position * angles[i])
        y[i], y[i + half] = x[i] * c - x[i + half] * s, x[i + half] * c + x[i] * s
    return y


def norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x * (x.pow(2).mean(-1, keepdim=True) + eps).rsqrt() * weight


def layer(model: PipoModel, prefix: str, x: torch.Tensor) -> torch.Tensor:
    """x [N, H] → [N, H]: one decoder layer, query by query."""
    config = model.config
    w = {n.removeprefix(prefix): t for n, t in model.state_dict().items() if n.startswith(prefix)}
    eps, heads, kv_heads = config.rms_norm_eps, config.num_attention_heads, config.num_key_value_heads
    u = norm(x, w["input_layernorm.weight"], eps)
    queries, keys, values = (
        (u @ w[f"self_attn.{n}_proj.weight"].T + w.get(f"self_attn.{n}_proj.bias", 0.0)).unflatten(1, (count, -1))
        for n, count in (("q", heads), ("k", kv_heads), ("v", kv_heads))
    )
    if "self_attn.q_norm.weight" in w:
        queries = norm(queries, w["self_attn.q_norm.weight"], eps)
        keys = norm(keys, w["self_attn.k_norm.weight"], eps)
    turned = [[rotate(keys[i, g], i, config.rope_parameters) for g in range(kv_heads)] for i in range(len(x))]
    mixed = torch.zeros_like(queries)
    for j in range(len(x)):
        for n in range(heads):
            g = n // (heads // kv_heads)
            q = rotate(queries[j, n], j, config.rope_parameters)
            scores = torch.stack([turned[i][g] for i in range(j + 1)]) @ q / math.sqrt(len(q))
            mixed[j, n] = torch.softmax(scores, 0) @ values[: j + 1, g]
    x = x + mixed.flatten(1) @ w["self_attn.o_proj.weight"].T
    u = norm(x, w["post_attention_layernorm.weight"], eps)
    inner = F.silu(u @ w["mlp.gate_proj.weight"].T) * (u @ w["mlp.up_proj.weight"].T)
    return x + inner @ w["mlp.down_proj.weight"].T


def backbone(model: PipoModel, x: torch.Tensor) -> torch.Tensor:
    for number in range(model.config.num_hidden_layers):
        x = layer(model, f"model.layers.{number}.", x)
    return norm(x, model.model.norm.weight, model.config.rms_norm_eps)


def pair_forward(model: PipoModel, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """ids [2L] → the fields of `PairOutput` without their batch dimension; linear compressor."""
    w, eps = model.state_dict(), model.config.rms_norm_eps
    embedded = w["model.embed_tokens.weight"][ids]
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    joined = torch.cat([embedded[::2], embedded[1::2]], -1)
    hidden = backbone(model, joined @ w["compressor.linear.weight"].T + w["compressor.linear.bias"])
    known = hidden[:-1]
    following = norm(embedded[2::2], w["mtp.pre_fc_norm_embedding.weight"], eps)
    x = torch.cat([following, norm(known, w["mtp.pre_fc_norm_hidden.weight"], eps)], -1) @ w["mtp.fc.weight"].T
    draft = norm(layer(model, "mtp.layers.0.", x), w["mtp.norm.weight"], eps)
    both = norm(torch.cat([known, draft], -1), w["confidence_head.norm.weight"], eps)
    confidence = F.silu(both @ w["confidence_head.fc1.weight"].T) @ w["confidence_head.fc2.weight"].T
    return {
        "hidden": hidden,
        "first_logits": hidden @ head.T,
        "draft_hidden": draft,
        "second_logits": draft @ head.T,
        "confidence_logits": confidence[:, 0],
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", DENSE)
@torch.no_grad()
def test_pair_forward_is_the_written_out_decoder(model_type, tied):
    model, ids = dense_model(model_type, "linear", tied), random_ids(1, 26)
    output, expected = model.pair_forward(ids), pair_forward(model, ids[0])
    for name, value in expected.items():
        torch.testing.assert_close(getattr(output, name)[0], value, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("rope", ROPES)
@torch.no_grad()
def test_rotations_are_the_written_out_ones_in_backbone_and_draft_head(rope):
    """40 pairs: more than twice the trained length."""
    model, ids = dense_model("llama", "linear", rope_parameters=ROPES[rope]), random_ids(1, 80)
    output, expected = model.pair_forward(ids), pair_forward(model, ids[0])
    torch.testing.assert_close(output.hidden[0], expected["hidden"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.draft_hidden[0], expected["draft_hidden"], rtol=1e-4, atol=1e-4)
    if rope != "default":
        other = dense_model("llama", "linear", rope_parameters=ROPES["default"])
        assert not torch.allclose(other.pair_hidden(ids), output.hidden, atol=0.05)


# --- What a family is made of ---


@pytest.mark.parametrize("model_type", DENSE)
def test_pair_modules_are_of_the_familys_own_parts(model_type):
    model = PipoModel(dense_config(model_type), "mlp")
    family = family_of(model.config)
    assert type(model.mtp.layers[0]) is type(model.model.layers[0]) is family.layer_class
    norms = [model.mtp.norm, model.mtp.pre_fc_norm_hidden, model.mtp.pre_fc_norm_embedding, model.confidence_head.norm]
    assert all(type(n) is type(model.model.norm) is family.norm_class for n in norms)
    assert all(torch.equal(n.weight, torch.ones_like(n.weight)) for n in norms)  # they start as the identity
    names = set(model.state_dict())
    assert ("mtp.layers.0.self_attn.q_proj.bias" in names) == (family is QWEN2)
    assert ("mtp.layers.0.self_attn.q_norm.weight" in names) == (family is QWEN3)
    assert {n.split(".")[0] for n in names} == {"model", "mtp", "compressor", "confidence_head"}


def test_a_new_draft_block_starts_as_the_last_layer():
    model = dense_model("qwen2")
    add_pair_modules(model, "mlp")
    for name, tensor in model.model.layers[-1].state_dict().items():
        assert torch.equal(model.mtp.layers[0].state_dict()[name], tensor), name


def test_families_have_different_names():
    for names in zip(*((f.name, f.plain_architecture, f.pair_architecture) for f in FAMILIES), strict=True):
        assert len(set(names)) == len(FAMILIES)
    assert [family.name for family in FAMILIES if family.zero_centred_norms] == [QWEN3_5.name]


# --- Files ---


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", DENSE)
@torch.no_grad()
def test_transformers_reads_our_plain_directories_and_we_read_its(tmp_path, model_type, tied):
    model, ids = dense_model(model_type, tied=tied), random_ids(2, 37)
    save_plain(model, tmp_path / "ours", torch.float32)
    theirs, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", dtype=torch.float32, output_loading_info=True
    )
    assert type(theirs).__name__ == family_of(model.config).plain_architecture
    assert not report["missing_keys"] and not report["unexpected_keys"]
    torch.testing.assert_close(model(ids), theirs(input_ids=ids).logits)

    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert list(again.state_dict()) == list(model.state_dict())
    assert torch.equal(again(ids), model(ids))


@pytest.mark.parametrize("rope", ROPES)
@torch.no_grad()
def test_rotations_survive_the_way_through_files(tmp_path, rope):
    model, ids = dense_model("llama", rope_parameters=ROPES[rope]), random_ids(1, 60)
    save_plain(model, tmp_path, torch.float32)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(load_model(tmp_path)(ids), theirs(input_ids=ids).logits)


@pytest.mark.parametrize("compressor", ["linear", "mlp"])
@pytest.mark.parametrize("model_type", DENSE)
@torch.no_grad()
def test_saved_pair_models_load_as_they_were(tmp_path, model_type, compressor):
    model, ids = dense_model(model_type, compressor, tied=model_type == "llama"), random_ids(1, 12)
    save_pipo(model, tmp_path, torch.float32)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.pair_forward(ids).second_logits, model.pair_forward(ids).second_logits)
    document = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert document["architectures"] == [family_of(model.config).pair_architecture]
    assert document["model_type"] == model_type and document["compressor_type"] == compressor
    assert text_fields(loaded.config) == text_fields(model.config)


@torch.no_grad()
def test_mistral_without_a_window_is_read_as_what_it_computes(tmp_path):
    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=160, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, sliding_window=None,
    )  # fmt: skip
    theirs, ids = MistralForCausalLM(config).eval(), random_ids(1, 30)
    theirs.save_pretrained(tmp_path)
    torch.testing.assert_close(load_model(tmp_path)(ids), theirs(input_ids=ids).logits)


def test_older_words_for_the_rotation_mean_the_same():
    sizes = {"model_type": "llama", "num_attention_heads": 4, "hidden_size": 64, "vocab_size": 160}
    llama3 = ROPES["llama3"]
    scaling = {name: value for name, value in llama3.items() if name != "rope_theta"}
    old = make_config(**sizes, rope_theta=5e5, rope_scaling=scaling)
    assert old.rope_parameters == make_config(**sizes, rope_parameters=llama3).rope_parameters == llama3
    older = make_config(**sizes, rope_theta=1e4, rope_scaling={"type": "linear", "factor": 4.0})
    assert older.rope_parameters == ROPES["linear"]
    assert make_config(**sizes, rope_scaling=None).rope_parameters == ROPES["default"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not supported; expected one of .*qwen2, qwen3, llama, mistral"),
        ({"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic'"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 64}, "sliding_window 64"),
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding_window 4096"),
    ],
)
def test_what_is_not_supported_is_refused(fields, problem):
    with pytest.raises(ValueError, match=problem):
        make_config(**fields)


def test_a_window_that_is_switched_off_is_no_window():
    config = make_config(model_type="qwen2", use_sliding_window=False, sliding_window=64, num_hidden_layers=40)
    assert set(config.layer_types) == {"full_attention"}


def test_published_vocabularies_have_padding_rows():
    qwen2 = read_config({"model_type": "qwen2", "vocab_size": 151936})
    assert (real_vocab_size(qwen2), pad_token_id(qwen2)) == (151665, 151643)
    qwen3 = read_config({"model_type": "qwen3", "vocab_size": 151936})
    assert real_vocab_size(qwen3) == 151669
    llama = read_config({"model_type": "llama", "vocab_size": 128256})
    assert real_vocab_size(llama) == 128256
    with pytest.raises(ValueError, match="pad_token_id"):
        pad_token_id(llama)


# --- Adapters and decoding ---


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3"])
@torch.no_grad()
def test_a_merged_adapter_is_the_adapter_of_peft(tmp_path, model_type):
    pytest.importorskip("peft")
    base, ids = dense_model(model_type, seed=21), random_ids(1, 20)
    add_pair_modules(base, "mlp")
    wrapped = wrap_with_adapter(base, rank=4, alpha=8).eval()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8 + ("norm" in name))
    wrapped.save_pretrained(tmp_path)

    merged = merge_adapter(dense_model_with_draft_head(model_type), tmp_path)
    ours, theirs = merged.pair_forward(ids), wrapped.base_model.model.pair_forward(ids)
    for name in ("hidden", "draft_hidden", "second_logits", "confidence_logits"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-3, atol=1e-3)


def dense_model_with_draft_head(model_type: str) -> PipoModel:
    """The base of the adapter above: its draft block is the last layer, everything else in the head as it starts."""
    model = dense_model(model_type, seed=21)
    add_pair_modules(model, "mlp")
    plain = PipoModel(model.config, draft_head=True)
    plain.load_state_dict({n: t for n, t in model.state_dict().items() if n in plain.state_dict()})
    return plain


@pytest.mark.parametrize("model_type", ["qwen2", "llama"])
def test_batched_decoding_is_decoding_one_by_one(model_type):
    model = dense_model(model_type, "mlp", tied=False)
    prompts = [random_ids(1, length, seed=length)[0].tolist() for length in (9, 14)]
    confidences = decode_pairs(model, prompts[0], 0.0, 12).confidences
    threshold = sum(sorted(confidences)[5:7]) / 2
    runs = generate_pairs(model, prompts, threshold, 16, ())
    assert 0 < runs[0].accepted < runs[0].steps
    for prompt, run in zip(prompts, runs, strict=True):
        assert run.slots == decode_pairs(model, prompt, threshold, 16).slots[: len(run.slots)]
    for prompt, run in zip(prompts, generate_plain(model, prompts, 12, ()), strict=True):
        assert run.tokens == decode_plain(model, prompt, 12).tokens
