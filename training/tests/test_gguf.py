"""GGUF files: what the reader makes of them is what was written, and what transformers' own reader makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from tiny_models import GOLDEN_DIR
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from goldens.gguf_blocks import RANDOM_FORMATS
from goldens.make_gguf import FIXTURES, nested
from goldens.tables import config_entries
from inspect_reference import inspect, parse_arguments
from pipo.checkpoint import load_model
from pipo.decoding import decode_plain
from pipo.gguf_file import convert, load_gguf

GGUF_DIR = GOLDEN_DIR / "gguf"
NAMES = [fixture.name for fixture in FIXTURES]
# Transformers' reader leaves out qwen3's head size and every stretching of a rotation.
READ_BY_TRANSFORMERS = ("qwen2-f32", "llama-q8_0", "llama-blocks-of-32", "llama-blocks-of-256")


def golden(name: str) -> dict:
    return json.loads((GGUF_DIR / f"{name}.json").read_text(encoding="utf-8"))


def path_of(name: str) -> Path:
    return GGUF_DIR / f"{name}.gguf"


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_files_compute_what_was_recorded(name):
    model, document = load_gguf(path_of(name)), golden(name)
    assert nested(config_entries(model)) == document["config"][0]
    for case in document["inspect"]:
        logits = model(torch.tensor([case["ids"]]))[0]
        for row, position in zip(logits, case["positions"], strict=True):
            ids, values = zip(*position["top"], strict=True)
            torch.testing.assert_close(row[list(ids)], torch.tensor(values), rtol=1e-4, atol=1e-4)
    for case in document["decode"]:
        assert decode_plain(model, case["prompt"], len(case["tokens"])).tokens == case["tokens"]
        assert len(set(case["tokens"])) >= 8


@pytest.mark.parametrize("name", READ_BY_TRANSFORMERS)
@torch.no_grad()
def test_transformers_reads_the_same_values(name):
    theirs = AutoModelForCausalLM.from_pretrained(GGUF_DIR, gguf_file=f"{name}.gguf", dtype=torch.float32).eval()
    ids = torch.tensor([golden(name)["inspect"][0]["ids"]])
    torch.testing.assert_close(load_gguf(path_of(name))(ids), theirs(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_every_format_that_the_engine_reads_is_there():
    contract = (GOLDEN_DIR.parents[1] / "server" / "src" / "engine" / "addon.ts").read_text(encoding="utf-8")
    union = contract.split("export type DiskDtype =")[1].split(";")[0]
    stored = {tensor.tensor_type.name for name in NAMES for tensor in GGUFReader(path_of(name)).tensors}
    assert {word.strip(' "\n') for word in union.split("|")} - {""} == stored


@pytest.mark.parametrize("kind", RANDOM_FORMATS)
def test_random_blocks_hold_every_pattern(kind):
    """All bytes but the factors take all values, in the file with 256 inputs a row."""
    tensors = [t for t in GGUFReader(path_of("llama-blocks-of-256")).tensors if t.tensor_type.name == kind]
    assert len(set(tensors[0].data.flatten().tolist())) == 256


@pytest.mark.parametrize("name", NAMES)
def test_transformers_cuts_texts_as_recorded(name, tmp_path):
    """Of Qwen's split; the other one is rebuilt by its definition in `goldens.tiny_tokenizer`."""
    if not convert(path_of(name), tmp_path):
        assert not (tmp_path / "tokenizer.json").exists()
        return
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # a document's text has no special tokens
    for case in golden(name)["tokenize"]:
        assert tokenizer.encode(case["text"], add_special_tokens=False).ids == case["ids"]


@torch.no_grad()
def test_a_converted_directory_is_the_file_rounded(tmp_path):
    convert(path_of("qwen3-f16"), tmp_path)
    for name, tensor in load_gguf(path_of("qwen3-f16")).state_dict().items():
        assert torch.equal(load_model(tmp_path).state_dict()[name], tensor.bfloat16().float()), name


def test_inspect_reference_reads_a_file():
    case = golden("llama-yarn")["inspect"][0]
    ids = ",".join(map(str, case["ids"]))
    document = inspect(parse_arguments([str(path_of("llama-yarn")), "--ids", ids]))
    assert [p["top"][0][0] for p in document["positions"]] == [p["top"][0][0] for p in case["positions"]]


def test_a_table_of_divisors_that_is_not_metas_is_refused(tmp_path):
    data = bytearray(path_of("llama-llama3").read_bytes())
    table = next(t for t in GGUFReader(path_of("llama-llama3")).tensors if t.name == "rope_freqs.weight")
    data[table.data_offset : table.data_offset + 4] = b"\0\0\0\x40"  # the first divisor becomes 2
    (tmp_path / "other.gguf").write_bytes(data)
    with pytest.raises(ValueError, match="rope_freqs.weight"):
        load_gguf(tmp_path / "other.gguf")


def test_other_architectures_are_refused(tmp_path):
    data = path_of("llama-q8_0").read_bytes()
    (tmp_path / "other.gguf").write_bytes(data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0gemma", 1))
    with pytest.raises(ValueError, match="'gemma' is not supported; expected one of qwen2, qwen3, llama"):
        load_gguf(tmp_path / "other.gguf")
