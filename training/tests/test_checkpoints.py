"""Checkpoint directories and adapters: what is written is what is read, and errors name the tensor."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_models import GOLDEN_DIR, pair_model, plain_model, random_ids
from transformers import AutoModelForCausalLM

from pipo.adapter import adapter_target, lora_scale, merge_adapter
from pipo.checkpoint import load_model, save_pipo, save_plain


@pytest.mark.parametrize("directory", ["tiny-plain", "tiny-lora/base"])
@torch.no_grad()
def test_transformers_loads_our_plain_directories_itself(directory):
    path, ids = GOLDEN_DIR / directory, random_ids(1, 30)
    theirs, report = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    torch.testing.assert_close(load_model(path)(ids), theirs(input_ids=ids).logits)


@pytest.mark.parametrize("compressor", ["linear", "mlp"])
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_saved_pair_models_load_as_they_were(tmp_path, compressor, tied):
    model, ids = pair_model(compressor, tied), random_ids(1, 10)
    save_pipo(model, tmp_path, torch.float32)
    loaded = load_model(tmp_path)
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert torch.equal(loaded.pair_forward(ids).second_logits, model.pair_forward(ids).second_logits)
    document = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert document["architectures"] == ["Qwen3_5ForCausalPIPO"] and document["compressor_type"] == compressor


@torch.no_grad()
def test_sharded_plain_models_load_as_they_were(tmp_path):
    model, ids = plain_model(tied=False), random_ids(1, 10)
    save_plain(model, tmp_path, torch.float32, shards=3, extra_tensors={"model.visual.x": torch.zeros(4)})
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    loaded = load_model(tmp_path)
    assert not loaded.is_pair_model and loaded.has_draft_head
    assert torch.equal(loaded(ids), model(ids))


def test_bf16_files_hold_the_rounded_weights(tmp_path):
    model = pair_model()
    save_pipo(model, tmp_path)
    for name, tensor in load_model(tmp_path).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].bfloat16().float()), name


def test_wrong_tensors_are_named(tmp_path):
    model = pair_model()
    del model.mtp.norm
    model.extra = torch.nn.Parameter(torch.zeros(2))
    model.model.norm.weight = torch.nn.Parameter(torch.zeros(3))
    save_pipo(model, tmp_path)
    with pytest.raises(ValueError, match=r"missing mtp.norm.weight; unknown extra; model.norm.weight has shape"):
        load_model(tmp_path)


def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path):
    save_pipo(pair_model("mlp"), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"mlp"', '"linear"'), encoding="utf-8")
    with pytest.raises(ValueError, match="compressor_type 'linear'"):
        load_model(tmp_path)


@torch.no_grad()
def test_a_plain_model_becomes_a_pair_model_and_keeps_its_weights():
    model = plain_model()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model.add_pair_modules("mlp")
    after = model.state_dict()
    assert all(torch.equal(after[n], t) for n, t in before.items())
    assert {n.split(".")[0] for n in after.keys() - before.keys()} == {"compressor", "confidence_head"}


@torch.no_grad()
def test_merged_adapter_is_the_adapter_of_peft(tmp_path):
    pytest.importorskip("peft")
    from goldens.lora import wrap_with_lora

    base, ids = plain_model(), random_ids(1, 20)
    wrapped = wrap_with_lora(base, seed=9)
    wrapped.save_pretrained(tmp_path)
    merged = merge_adapter(base, tmp_path)
    ours, theirs = merged.pair_forward(ids), wrapped.base_model.model.pair_forward(ids)
    for name in ("hidden", "draft_hidden", "second_logits", "confidence_logits"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-3, atol=1e-4)
    unloaded = wrapped.merge_and_unload().state_dict()
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(tensor, unloaded[name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(merged.mtp.layers[0].self_attn.q_proj.weight, base.mtp.layers[0].self_attn.q_proj.weight)


def test_adapter_names_of_every_layout():
    for stored in (
        "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.language_model.layers.3.self_attn.q_proj.lora_A.default.weight",
    ):
        assert adapter_target(stored) == "model.layers.3.self_attn.q_proj.lora_A.weight"
    for stored in ("base_model.model.mtp.fc.weight", "base_model.model.mtp.fc.modules_to_save.default.weight"):
        assert adapter_target(stored) == "mtp.fc.weight"


def test_lora_scale():
    assert lora_scale({"r": 64, "lora_alpha": 128}) == 2
    assert lora_scale({"r": 16, "lora_alpha": 8, "use_rslora": True}) == 2
    with pytest.raises(ValueError, match="rank_pattern"):
        lora_scale({"r": 8, "lora_alpha": 8, "rank_pattern": {"q_proj": 4}})
