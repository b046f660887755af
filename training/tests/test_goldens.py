"""The recorded goldens still are what the model computes, and they notice the usual mistakes."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_models import (
    DENSE_PAIR_FIXTURES,
    DENSE_PLAIN_FIXTURES,
    GOLDEN_DIR,
    PAIR_FIXTURES,
    PLAIN_FIXTURES,
    load_fixture,
    read_golden_text,
)

from goldens.tables import write_config
from inspect_reference import inspect, parse_arguments
from pipo.config import pad_token_id, real_vocab_size
from pipo.decoding import decode_pairs, decode_plain


@pytest.mark.parametrize("name", [*PAIR_FIXTURES, *PLAIN_FIXTURES])
@torch.no_grad()
def test_goldens_are_what_the_model_computes(name):
    model, golden = load_fixture(name), read_golden_text(name)
    for case in ("0", "1"):
        if model.is_pair_model:
            out = model.pair_forward(golden[f"pair.{case}.ids"][None])
            torch.testing.assert_close(out.hidden[0], golden[f"pair.{case}.hidden"], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(out.draft_hidden[0], golden[f"pair.{case}.draft_hidden"], rtol=1e-4, atol=1e-4)
            best = out.second_logits[0, :, : real_vocab_size(model.config)].topk(8)
            assert torch.equal(best.indices, golden[f"pair.{case}.second_ids"])
        hidden = model.plain_hidden(golden[f"plain.{case}.ids"][None])[0]
        torch.testing.assert_close(hidden, golden[f"plain.{case}.hidden"], rtol=1e-4, atol=1e-4)
        prompt, tokens = golden[f"plain_decode.{case}.prompt"], golden[f"plain_decode.{case}.tokens"]
        assert decode_plain(model, prompt.tolist(), len(tokens)).tokens == tokens.tolist()


@pytest.mark.parametrize("name", PAIR_FIXTURES)
def test_decode_goldens_cover_both_outcomes_and_both_stops(name):
    golden = json.loads((GOLDEN_DIR / name / "golden.json").read_text(encoding="utf-8"))
    pad = pad_token_id(load_fixture(name).config)
    pairs = [case for case in golden["decode"] if case["mode"] == "pair" and "preGateThreshold" not in case]
    assert len(pairs) == 10 and {len(case["prompt"]) % 2 for case in pairs} == {0, 1}
    gated = [case for case in pairs if 0 < case["threshold"] < 1 and not case["stopIds"]]
    assert all(6 <= case["slots"][1::2].count(pad) <= 18 for case in gated) and len(gated) == 2
    stops = [case for case in pairs if case["stopIds"]]
    assert all(case["stopped"] and case["slots"][-1] in case["stopIds"] for case in stops)
    assert {len(case["slots"]) % 2 for case in stops} == {0, 1}


@pytest.mark.parametrize("name", ["tiny-pregate", "tiny-llama"])
def test_pre_gated_goldens_are_what_the_model_decodes_and_cover_every_outcome(name):
    model, golden = load_fixture(name), read_golden_text(name)
    pad, outcomes = pad_token_id(model.config), []
    for case in range(10, 16):
        prompt, slots, skipped, threshold, pre_gate = (
            golden[f"decode.{case}.{entry}"].tolist()
            for entry in ("prompt", "slots", "skipped", "threshold", "pre_gate_threshold")
        )
        run = decode_pairs(model, prompt, threshold[0], 24, pre_gate_threshold=pre_gate[0])
        assert run.slots == slots and [run.skipped] == skipped
        outcomes.append((run.skipped, slots[1::2].count(pad) - run.skipped, len(slots) // 2 - slots[1::2].count(pad)))
    for (skipped, rejected, _), gated, (all_skipped, *others) in (outcomes[:3], outcomes[3:]):
        assert 0 < skipped < 24 and rejected == 0 and min(gated) > 0
        assert all_skipped == 24 and others == [0, 0]


@pytest.mark.parametrize("name", PAIR_FIXTURES)
def test_decode_goldens_are_what_the_model_decodes(name):
    model, golden = load_fixture(name), read_golden_text(name)
    pad_wins = {}
    for case in ("0", "6"):
        prompt, slots = (golden[f"decode.{case}.{entry}"].tolist() for entry in ("prompt", "slots"))
        run = decode_pairs(model, prompt, golden[f"decode.{case}.threshold"].item(), 24)
        assert run.slots == slots
        pad_wins[case] = run.pad_wins
    # Otherwise a decoder without the ban on PAD or without the mask of unused rows would pass.
    assert pad_wins["0"] > 0
    with torch.no_grad():
        logits = model.pair_forward(golden["pair.0.ids"][None]).first_logits[0]
    assert (logits.argmax(-1) >= real_vocab_size(model.config)).sum() >= 4


@pytest.mark.parametrize("name", [*DENSE_PAIR_FIXTURES, *DENSE_PLAIN_FIXTURES])
def test_dense_decodes_are_not_one_token_over_and_over(name):
    golden = json.loads((GOLDEN_DIR / name / "golden.json").read_text(encoding="utf-8"))
    free = [case for case in golden["decode"] if case["mode"] == "plain" or case["threshold"] == 0]
    assert all(len(set(case["tokens"])) >= 8 for case in free if not case.get("preGateThreshold"))


@pytest.mark.parametrize("name", [*PAIR_FIXTURES, *PLAIN_FIXTURES])
def test_described_configs_are_those_of_the_checkpoints(tmp_path, name):
    write_config(tmp_path / "config.txt", load_fixture(name))
    assert (tmp_path / "config.txt").read_text("utf-8") == (GOLDEN_DIR / name / "config.txt").read_text("utf-8")


@pytest.mark.parametrize("family", ["qwen3_5", "qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("compressor", ["linear", "none"])
def test_inspect_reference_on_a_fresh_checkpoint(tmp_path, compressor, family):
    arguments = [str(tmp_path), "--random", "3", "--compressor", compressor, "--ids", "1,2,3,4,5", "--family", family]
    document = inspect(parse_arguments([*arguments, "--set", "hidden_size=64", "num_hidden_layers=4"]))
    rows = document["pairs"] if compressor == "linear" else document["positions"]
    assert [row["index"] for row in rows] == list(range(3 if compressor == "linear" else 5))
    if compressor == "linear":
        assert rows[-1]["second"] is None and rows[-1]["confidence"] is None and len(rows[0]["second"]) == 8
    again = inspect(parse_arguments([str(tmp_path), "--ids", "1,2,3,4,5"]))
    assert again == document
