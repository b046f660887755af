"""The road of a released model: a Qwen3.5 directory saved by transformers, conversations, LoRA, merge."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Model, Qwen3_5ForConditionalGeneration, Qwen3_5TextModel
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5Config

from pipo import merge, sft
from pipo.checkpoint import load_model
from pipo.conversations import ConversationSource, conversation_sample, read_conversations

BUNDLED = Path(__file__).parents[2] / "models" / "pipo-code-9m"
TEXT = {
    "vocab_size": 8192, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "linear_num_key_heads": 1, "linear_num_value_heads": 2,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "tie_word_embeddings": True, "pad_token_id": 8160,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.5,
                        "mrope_section": [2, 1, 1], "mrope_interleaved": True},
}  # fmt: skip
VISION = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
CONVERSATIONS = [
    [
        {"role": "user", "content": f"What is {n} + {n}?"},
        {"role": "assistant", "content": f"<think>\nTwice {n}.\n</think>\n\n{2 * n}"},
    ]
    for n in range(3, 9)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("released")
    config = Qwen3_5Config(text_config=TEXT, vision_config=VISION, tie_word_embeddings=True)
    Qwen3_5ForConditionalGeneration(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((BUNDLED / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "conversations.jsonl"
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in CONVERSATIONS), "utf-8")
    return path


def fine_tune(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["sft", *map(str, arguments)])
    sft.main()


def test_only_the_last_answer_is_learnt_and_it_starts_on_a_pair_border(tokenizer: Tokenizer) -> None:
    sample = conversation_sample(tokenizer, CONVERSATIONS[0])
    text = tokenizer.decode(sample.ids, skip_special_tokens=False)
    assert text == (
        "<|im_start|>user\nWhat is 3 + 3?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nTwice 3.\n</think>\n\n6<|im_end|>\n"
    )
    pad = 8160
    batch = ConversationSource([sample], pad, max_ratio=0.25, seed=1)[0]
    ids, weights = batch.ids[0].tolist(), batch.weights[0].tolist()
    learnt = [i for i, w in zip(ids, weights, strict=True) if w]
    assert learnt == sample.ids[sample.response_start :]
    assert [i for i in ids if i != pad] == sample.ids
    first = weights.index(1.0)
    assert first % 2 == 0 and len(ids) % 2 == 0
    assert all(position % 2 == 1 for position, i in enumerate(ids) if i == pad)
    assert ids[first:].count(pad) >= 2  # at least one pair of the answer is split


def test_every_pass_takes_each_conversation_once(tokenizer: Tokenizer) -> None:
    samples = [conversation_sample(tokenizer, m) for m in CONVERSATIONS]
    source = ConversationSource(samples, 8160, 0.0, seed=3)
    shown = [source[step].ids[0].tolist() for step in range(12)]
    contents = [tuple(i for i in ids if i != 8160) for ids in shown]
    everything = {tuple(s.ids) for s in samples}
    assert set(contents[:6]) == set(contents[6:]) == everything


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"messages": CONVERSATIONS[0]}) + "\n{}\n", "utf-8")
    with pytest.raises(ValueError, match=r"c.jsonl:2: expected"):
        read_conversations(path)
    path.write_text(json.dumps({"messages": CONVERSATIONS[0][:1]}) + "\n", "utf-8")
    with pytest.raises(ValueError, match=r"c.jsonl:1: the last message"):
        read_conversations(path)


def test_an_adapter_is_trained_resumed_and_merged(
    released: Path, conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    arguments = (
        "--model", released, "--data", conversations, "--out", tmp_path / "run", "--lora", 4, "--rows", 2,
        "--optimizer", "adamw", "--lr", 1e-3, "--threads", 1, "--gradient-checkpointing", "--device", "cpu",
        "--pre-gate",
    )  # fmt: skip
    fine_tune(monkeypatch, *arguments, "--minutes", 0.05)
    fine_tune(monkeypatch, *arguments, "--minutes", 0.08)
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert saved["seconds"] >= 0.08 * 60
    assert not any("embed_tokens" in name or "linear_attn" in name for name in saved["model"])  # frozen, not saved

    merge.merge(released, tmp_path / "run" / "adapter", tmp_path / "merged")
    base, merged = load_model(released), load_model(tmp_path / "merged")
    assert merged.compressor_type == "mlp" and merged.has_pre_gate
    assert not torch.equal(merged.mtp.fc.weight, torch.zeros_like(merged.mtp.fc.weight))
    changed = merged.model.layers[3].self_attn.q_proj.weight - base.model.layers[3].self_attn.q_proj.weight
    untouched = merged.model.layers[0].linear_attn.in_proj_qkv.weight
    assert changed.abs().max() > 0
    torch.testing.assert_close(untouched, base.model.layers[0].linear_attn.in_proj_qkv.weight, atol=2e-3, rtol=1e-2)
    with pytest.raises(ValueError, match="another folder"):
        merge.merge(released, tmp_path / "run" / "adapter", released)


def test_the_merged_backbone_is_read_by_transformers(
    released: Path, conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full tuning of every parameter, then both libraries compute the same hidden from the exported files."""
    out = tmp_path / "model"
    fine_tune(
        monkeypatch, "--model", released, "--data", conversations, "--out", tmp_path / "run", "--snapshots", out,
        "--optimizer", "adamw", "--lr", 1e-4, "--threads", 1, "--minutes", 0.03, "--device", "cpu",
    )  # fmt: skip
    ids = torch.arange(40, 60)[None]
    with torch.no_grad():
        ours = load_model(out).plain_hidden(ids)
        theirs = Qwen3_5TextModel.from_pretrained(out, dtype=torch.float32).eval()(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_dense_model_is_trained_and_merged(
    conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Qwen2, which has no draft head: a new one is trained whole and is part of the adapter."""
    pytest.importorskip("peft")
    torch.manual_seed(0)
    released, out = tmp_path / "released", tmp_path / "merged"
    config = Qwen2Config(
        vocab_size=8192, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True, pad_token_id=8160,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(released)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (released / name).write_bytes((BUNDLED / name).read_bytes())
    fine_tune(
        monkeypatch, "--model", released, "--data", conversations, "--out", tmp_path / "run", "--lora", 4, "--rows", 2,
        "--optimizer", "adamw", "--lr", 1e-3, "--threads", 1, "--minutes", 0.05, "--device", "cpu",
    )  # fmt: skip
    merge.merge(released, tmp_path / "run" / "adapter", out)
    base, merged = load_model(released), load_model(out)
    assert merged.compressor_type == "mlp" and type(merged.mtp.layers[0]).__name__ == "Qwen2DecoderLayer"
    assert not torch.equal(merged.model.layers[1].self_attn.q_proj.weight, base.model.layers[1].self_attn.q_proj.weight)
    torch.testing.assert_close(merged.model.embed_tokens.weight, base.model.embed_tokens.weight, atol=1e-3, rtol=1e-2)
    ids = torch.arange(40, 60)[None]
    with torch.no_grad():
        theirs = Qwen2Model.from_pretrained(out, dtype=torch.float32).eval()(input_ids=ids).last_hidden_state
        torch.testing.assert_close(merged.plain_hidden(ids), theirs, rtol=1e-4, atol=1e-5)
