"""The model against transformers and against written-out oracles: backbone, pair modules, losses, decoding."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_models import PAD, SHAPE, pair_model, plain_model, random_ids
from transformers import DynamicCache, Qwen3_5ForCausalLM
from transformers.models.qwen3_5 import modeling_qwen3_5

from pipo.config import make_config, real_vocab_size
from pipo.decoding import decode_pairs, gate_accepts, pad_to_even
from pipo.losses import IGNORED, plain_loss, sft_losses
from pipo.modeling import PipoModel, replace_gated_delta_rule

# --- Backbone ---


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_plain_logits_are_those_of_transformers(tied):
    model = plain_model(tied)
    theirs = Qwen3_5ForCausalLM(model.config).eval()
    own = {n: t for n, t in model.state_dict().items() if not n.startswith("mtp.")}
    missing, unexpected = theirs.load_state_dict(own, strict=False)
    assert unexpected == [] and missing == (["lm_head.weight"] if tied else [])
    theirs.tie_weights()
    ids = random_ids(2, 37)
    torch.testing.assert_close(model(ids), theirs(input_ids=ids).logits)


@pytest.mark.parametrize("chunk", [7, 32, 64])
def test_chunked_gated_delta_rule_is_the_recurrence(chunk):
    generator = torch.Generator().manual_seed(3)
    shape = {"query": (2, 75, 2, 16), "key": (2, 75, 2, 16), "value": (2, 75, 4, 16)}
    inputs = {n: torch.randn(s, generator=generator) for n, s in shape.items()}
    inputs["g"] = -torch.rand(2, 75, 4, generator=generator) * 3
    inputs["beta"] = torch.rand(2, 75, 4, generator=generator)
    inputs["initial_state"] = torch.randn(2, 4, 16, 16, generator=generator)
    options = {"output_final_state": True, "use_qk_l2norm_in_kernel": True}
    chunked = modeling_qwen3_5.torch_chunk_gated_delta_rule(**inputs, chunk_size=chunk, **options)
    recurrent = modeling_qwen3_5.torch_recurrent_gated_delta_rule(**inputs, **options)
    state = inputs["initial_state"]
    outputs = []
    for t in range(75):
        row, state = written_out_delta_step({n: inputs[n][:, t] for n in ("query", "key", "value", "g", "beta")}, state)
        outputs.append(row)
    for output, final in (chunked, recurrent):
        torch.testing.assert_close(output, torch.stack(outputs, 1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(final, state, rtol=1e-4, atol=1e-5)


def written_out_delta_step(x: dict[str, torch.Tensor], state: torch.Tensor):
    """One position: q, k [B, Nk, dk], v [B, Nv, dv], state [B, Nv, dk, dv]."""
    groups = x["value"].shape[1] // x["key"].shape[1]
    q, k = (t / (t.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt() for t in (x["query"], x["key"]))
    q, k = (t.repeat_interleave(groups, dim=1) for t in (q / math.sqrt(q.shape[-1]), k))
    decayed = x["g"].exp()[..., None, None] * state
    error = x["value"] - torch.einsum("bhkv,bhk->bhv", decayed, k)
    state = decayed + torch.einsum("bhk,bhv->bhkv", k, x["beta"][..., None] * error)
    return torch.einsum("bhkv,bhk->bhv", state, q), state


@torch.no_grad()
def test_prefill_and_steps_are_one_pass_over_all_pairs():
    model = pair_model()
    latents = model.compress(random_ids(1, 40))
    whole = model.model(inputs_embeds=latents, use_cache=False).last_hidden_state
    cache = DynamicCache(config=model.config)
    parts = [model.model(inputs_embeds=latents[:, :13], past_key_values=cache, use_cache=True).last_hidden_state]
    for j in range(13, 20):
        step = model.model(inputs_embeds=latents[:, j : j + 1], past_key_values=cache, use_cache=True)
        parts.append(step.last_hidden_state)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_another_gated_delta_rule_can_be_plugged_in():
    calls = []

    def counting(*args, **kwargs):
        calls.append(args[0].shape)
        return original(*args, **kwargs)

    original = modeling_qwen3_5.torch_chunk_gated_delta_rule
    model, ids = pair_model(), random_ids(1, 12)
    with replace_gated_delta_rule(counting):
        replaced = model.pair_hidden(ids)
    assert len(calls) == 3 and modeling_qwen3_5.torch_chunk_gated_delta_rule is original
    torch.testing.assert_close(replaced, model.pair_hidden(ids))


# --- Pair modules ---


@torch.no_grad()
def test_compressors_start_as_the_sum_of_what_enters():
    ids = random_ids(2, 12)
    for kind, of in (("linear", lambda x: x), ("mlp", F.silu)):
        model = PipoModel(make_config(**SHAPE, tie_word_embeddings=True), kind)
        even, odd = model.embed(ids[:, ::2]), model.embed(ids[:, 1::2])
        torch.testing.assert_close(model.compress(ids), of(even) + of(odd))


@torch.no_grad()
def test_compressor_reads_the_even_token_first():
    model = pair_model("linear")
    ids = random_ids(1, 2)
    weight, bias = model.compressor.linear.weight, model.compressor.linear.bias
    a, b = model.embed(ids[0, 0]), model.embed(ids[0, 1])
    torch.testing.assert_close(model.compress(ids)[0, 0], weight[:, :64] @ a + weight[:, 64:] @ b + bias)


@torch.no_grad()
def test_draft_head_is_the_written_out_block():
    model = pair_model()
    ids = random_ids(1, 22)
    hidden = model.pair_hidden(ids)[:, :-1]
    expected = written_out_draft(model, hidden[0], ids[0, 2::2])
    torch.testing.assert_close(model.draft_hidden(hidden, ids[:, 2::2])[0], expected, rtol=1e-4, atol=1e-5)


def norm(x, weight):
    return x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * (1 + weight)


def rotate(x, position, rotary):
    """x [head_dim]: element i turns with element i + rotary/2; the rest passes."""
    y, half = x.clone(), rotary // 2
    for i in range(half):
        angle = position * 1e7 ** (-2 * i / rotary)
        c, s = math.cos(angle), math.sin(angle)
        y[i], y[i + half] = x[i] * c - x[i + half] * s, x[i + half] * c + x[i] * s
    return y


def written_out_draft(model: PipoModel, hidden: torch.Tensor, next_ids: torch.Tensor) -> torch.Tensor:
    """hidden [N, H], next_ids [N] → [N, H]: head by head, row by row."""
    w = {n.removeprefix("mtp."): t for n, t in model.state_dict().items() if n.startswith("mtp.")}
    w = {n.removeprefix("layers.0."): t for n, t in w.items()}
    d, heads, kv_heads = SHAPE["head_dim"], SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"]
    embedded = norm(model.embed(next_ids), w["pre_fc_norm_embedding.weight"])
    x = torch.cat([embedded, norm(hidden, w["pre_fc_norm_hidden.weight"])], -1) @ w["fc.weight"].T
    u = norm(x, w["input_layernorm.weight"])
    queries, keys, values = (u @ w[f"self_attn.{n}_proj.weight"].T for n in "qkv")
    mixed = torch.zeros(len(x), heads * d)
    for n in range(heads):
        g = n // (heads // kv_heads)
        for j in range(len(x)):
            q, gate = queries[j, 2 * d * n : 2 * d * n + d], queries[j, 2 * d * n + d : 2 * d * (n + 1)]
            q = rotate(norm(q, w["self_attn.q_norm.weight"]), j, d // 4)
            rows = [keys[i, d * g : d * (g + 1)] for i in range(j + 1)]
            rows = [rotate(norm(k, w["self_attn.k_norm.weight"]), i, d // 4) for i, k in enumerate(rows)]
            weights = torch.softmax(torch.stack(rows) @ q / math.sqrt(d), 0)
            mixed[j, d * n : d * (n + 1)] = weights @ values[: j + 1, d * g : d * (g + 1)] * torch.sigmoid(gate)
    x = x + mixed @ w["self_attn.o_proj.weight"].T
    u = norm(x, w["post_attention_layernorm.weight"])
    inner = F.silu(u @ w["mlp.gate_proj.weight"].T) * (u @ w["mlp.up_proj.weight"].T)
    return norm(x + inner @ w["mlp.down_proj.weight"].T, w["norm.weight"])


@torch.no_grad()
def test_confidence_head_is_the_written_out_formula():
    model = pair_model()
    w = {n: t for n, t in model.confidence_head.state_dict().items()}
    h, m = torch.randn(5, 64), torch.randn(5, 64)
    expected = F.silu(norm(torch.cat([h, m], -1), w["norm.weight"]) @ w["fc1.weight"].T) @ w["fc2.weight"].T
    torch.testing.assert_close(model.confidence_head(h, m), expected[:, 0])


@torch.no_grad()
def test_batch_rows_do_not_see_each_other():
    model, ids = pair_model(tied=False), random_ids(3, 20)
    together = model.pair_forward(ids)
    for row in range(3):
        alone = model.pair_forward(ids[row : row + 1])
        for name in ("hidden", "first_logits", "draft_hidden", "second_logits", "confidence_logits"):
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0], rtol=1e-4, atol=1e-5)


def test_odd_pair_sequences_are_refused():
    with pytest.raises(ValueError, match="append PAD"):
        pair_model().pair_hidden(random_ids(1, 7))


# --- Losses ---


def labelled_ids() -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows with a masked prompt and PADs whose labels are masked."""
    ids = random_ids(2, 24, seed=5)
    ids[0, 11], ids[1, 15], ids[1, 23] = PAD, PAD, PAD
    labels = ids.clone()
    labels[:, :6] = IGNORED
    labels[ids == PAD] = IGNORED
    return ids, labels


@pytest.mark.parametrize("rows_per_chunk", [3, 2048])
def test_losses_are_the_written_out_loop(rows_per_chunk):
    model, (ids, labels) = pair_model(), labelled_ids()
    losses = sft_losses(model, ids, labels, rows_per_chunk)
    with torch.no_grad():
        first, second, confidence = written_out_losses(model, ids, labels)
    torch.testing.assert_close(losses.first, first)
    torch.testing.assert_close(losses.second, second)
    torch.testing.assert_close(losses.confidence, confidence)
    torch.testing.assert_close(losses.total, first + second + confidence)
    assert (losses.first_rows, losses.second_rows) == (18, 15)


def written_out_losses(model, ids, labels):
    first, second, confidence = [], [], []
    for row_ids, row_labels in zip(ids, labels, strict=True):
        out = model.pair_forward(row_ids[None])
        for j in range(len(row_ids) // 2 - 1):
            if row_labels[2 * j + 2] != IGNORED:
                first.append(-torch.log_softmax(out.first_logits[0, j], -1)[row_labels[2 * j + 2]])
            if row_labels[2 * j + 3] != IGNORED:
                p = torch.softmax(out.second_logits[0, j], -1)[row_labels[2 * j + 3]]
                c = torch.sigmoid(out.confidence_logits[0, j])
                second.append(-torch.log(p))
                confidence.append(-(p * torch.log(c) + (1 - p) * torch.log(1 - c)))
    return torch.stack(first).mean(), torch.stack(second).mean(), torch.stack(confidence).mean()


def test_confidence_loss_moves_only_the_confidence_head():
    model, (ids, labels) = pair_model(), labelled_ids()
    sft_losses(model, ids, labels).confidence.backward()
    moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"confidence_head"}


def test_second_loss_reaches_backbone_compressor_and_pad_embedding():
    model, (ids, labels) = pair_model(tied=False), labelled_ids()
    sft_losses(model, ids, labels).second.backward()
    assert model.compressor.mlp[0].weight.grad.any()
    assert model.model.layers[0].mlp.up_proj.weight.grad.any()
    assert model.model.embed_tokens.weight.grad[PAD].any()


def test_a_batch_without_labels_costs_nothing():
    model, (ids, _) = pair_model(), labelled_ids()
    losses = sft_losses(model, ids, torch.full_like(ids, IGNORED))
    losses.total.backward()
    assert losses.total.item() == 0.0


def test_plain_loss_is_the_shifted_cross_entropy():
    model, ids = plain_model(), random_ids(2, 15)
    expected = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(plain_loss(model, ids, ids), expected)


def test_losses_under_bf16_autocast_stay_close():
    model, (ids, labels) = pair_model(), labelled_ids()
    exact = sft_losses(model, ids, labels).total.item()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = sft_losses(model, ids, labels)
    rounded.total.backward()
    assert rounded.total.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert abs(rounded.total.item() - exact) < 0.05 * exact


# --- Decoding ---


def test_gate_semantics():
    assert gate_accepts(None, -1.0) and gate_accepts(0.0, 0.0)
    assert gate_accepts(0.5, 0.5) and not gate_accepts(0.49999, 0.5)
    assert not gate_accepts(1.0, 1.0) and not gate_accepts(None, 2.0)


def test_thresholds_in_decoding():
    model, prompt = pair_model(), random_ids(1, 15)[0].tolist()
    ungated, always, never = (decode_pairs(model, prompt, t, 12) for t in (-1.0, 0.0, 1.0))
    assert ungated.slots == always.slots and PAD not in always.slots
    assert ungated.confidences == [None] * 12 and None not in always.confidences
    assert never.slots[1::2] == [PAD] * 12 and PAD not in never.slots[::2] and never.confidences == [None] * 12
    assert always.slots[0] == never.slots[0]

    threshold = sorted(always.confidences)[6]
    gated = decode_pairs(model, prompt, threshold, 12)
    kept = [second != PAD for second in gated.slots[1::2]]
    assert kept == [c >= threshold for c in gated.confidences] and any(kept) and not all(kept)
    assert len(gated.tokens) == 12 + sum(kept)


def test_pre_gate_thresholds_in_decoding():
    model, prompt = pair_model(), random_ids(1, 15)[0].tolist()
    without = decode_pairs(model, prompt, 0.0, 12)
    assert decode_pairs(model, prompt, 0.0, 12, pre_gate_threshold=0.9).slots == without.slots
    model.add_pre_gate()
    torch.nn.init.normal_(model.pre_gate.weight, std=0.2, generator=torch.Generator().manual_seed(1))
    off, some, all_skipped = (decode_pairs(model, prompt, 0.0, 12, pre_gate_threshold=t) for t in (0.0, 0.5, 1.0))
    assert off.slots == without.slots and off.skipped == 0
    assert all_skipped.slots == decode_pairs(model, prompt, 1.0, 12).slots and all_skipped.skipped == 12

    with torch.no_grad():
        hidden = model.pair_hidden(torch.tensor([pad_to_even(prompt, PAD) + some.slots[:-2]]))[0, -12:]
        skips = (torch.sigmoid(model.pre_gate(hidden)[:, 0]) < 0.5).tolist()
    assert [c is None for c in some.confidences] == skips == [second == PAD for second in some.slots[1::2]]
    assert some.skipped == sum(skips) and 0 < some.skipped < 12


def test_each_greedy_token_is_the_best_of_the_teacher_forced_pass():
    model, prompt = pair_model(), random_ids(1, 15)[0].tolist()
    slots = decode_pairs(model, prompt, 0.0, 10).slots
    timeline = pad_to_even(prompt, PAD) + slots
    with torch.no_grad():
        out = model.pair_forward(torch.tensor([timeline]))
    for logits in (out.first_logits, out.second_logits):
        logits[..., PAD] = float("-inf")
        logits[..., real_vocab_size(model.config) :] = float("-inf")
    border = 16 // 2 - 1
    assert slots[::2] == out.first_logits[0, border:-1].argmax(-1).tolist()
    assert slots[1::2] == out.second_logits[0, border:].argmax(-1).tolist()


def test_stop_ids_end_a_sequence_in_either_place():
    model, prompt = pair_model(), random_ids(1, 15)[0].tolist()
    slots = decode_pairs(model, prompt, 0.0, 10).slots
    for position in (next(i for i in range(4, 20) if i % 2 == odd and slots[i] not in slots[:i]) for odd in (0, 1)):
        stopped = decode_pairs(model, prompt, 0.0, 10, stop_ids=(slots[position],))
        assert stopped.stopped and stopped.slots == slots[: position + 1]
