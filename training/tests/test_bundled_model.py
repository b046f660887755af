"""The shipped model directory is complete and agrees with itself."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pipo.checkpoint import load_model
from pipo.config import real_vocab_size
from pipo.decoding import decode_pairs
from pipo.fim import Sampler, SpecialIds

MODEL = Path(__file__).parents[2] / "models" / "pipo-code-9m"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


def read(name: str) -> dict:
    return json.loads((MODEL / name).read_text("utf-8"))


def test_ids_agree_across_files(tokenizer: Tokenizer) -> None:
    special = SpecialIds.of(tokenizer)
    card, generation, config = read("pipo.json"), read("generation_config.json"), read("config.json")
    assert card["padTokenId"] == generation["pad_token_id"] == config["pad_token_id"] == special.pad
    assert card["stopTokenIds"] == generation["eos_token_id"] == [special.end]
    assert config["real_vocab_size"] == tokenizer.get_vocab_size() < config["vocab_size"]


def test_directory_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 25 * 1024 * 1024


def test_every_source_is_named_with_its_licence() -> None:
    rows = [json.loads(line) for line in (MODEL / "sources.jsonl").open(encoding="utf-8")]
    assert {row["split"] for row in rows} == {"train", "held-out"}
    assert all(row["name"] and row["version"] and row["licence"] for row in rows)


def test_its_gate_beats_a_random_gate_of_the_same_rate() -> None:
    gated = [row for row in read("evaluation.json")["gate"] if 0.05 < row["acceptanceRate"] < 0.95]
    assert gated
    assert all(row["precision"] > row["randomPrecision"] for row in gated)


@torch.no_grad()
def test_it_has_learnt_python(tokenizer: Tokenizer) -> None:
    model = load_model(MODEL)
    sampler = Sampler(tokenizer, 256)
    known = real_vocab_size(model.config)
    text = (
        "import os\n\n\ndef read_lines(path):\n    with open(path) as file:\n        return [line for line in file]\n"
    )
    ids = [*sampler.header("lines.py"), *sampler.encode(text)]
    ids += [sampler.special.pad] * (len(ids) % 2)
    logits = model.pair_forward(torch.tensor([ids])).first_logits[0, :-1, :known]
    nll = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[2::2]))
    assert nll < 5.0  # a uniform guess has 9.0

    prompt = sampler.prompt("lines.py", "class Reader:\n    def __init__(", "\n        self.path = path\n", 128, 32)
    decoded = decode_pairs(model, prompt, threshold=0.9, max_steps=12, stop_ids=(sampler.special.end,))
    assert tokenizer.decode(decoded.tokens).lstrip().startswith("self")
