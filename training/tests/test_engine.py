"""What is exported here is what the built engine computes. Skipped where the engine has not been built."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from test_released_model import conversations, fine_tune, released  # noqa: F401  (fixtures)

from inspect_reference import inspect, parse_arguments
from pipo import merge

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "models" / "pipo-code-9m"
COMMAND = ROOT / "dist" / "cli.js"
IDS = ",".join(str(random.Random(4).randrange(8000)) for _ in range(31))

pytestmark = pytest.mark.skipif(
    not COMMAND.exists() or not (ROOT / "dist" / "pipo_engine.node").exists() or shutil.which("node") is None,
    reason="the engine is not built; run `npm run build` first",
)


def of_engine(*arguments: object) -> dict:
    command = ["node", str(COMMAND), "inspect", "--dtype", "f32", "--no-cache", "--ids", IDS, "--json"]
    return json.loads(subprocess.run([*command, *map(str, arguments)], check=True, capture_output=True).stdout)


def assert_same(found: dict, wanted: dict) -> None:
    assert len(found["pairs"]) == len(wanted["pairs"]) == 16
    for ours, theirs in zip(found["pairs"], wanted["pairs"], strict=True):
        for token in ("first", "second"):
            if theirs[token] is None:
                assert ours[token] is None
                continue
            logits = {token_id: logit for token_id, logit in ours[token]}
            for token_id, logit in theirs[token][:6]:  # the last of the list may be swapped by rounding
                assert logits[token_id] == pytest.approx(logit, rel=1e-3, abs=1e-3)
        assert ours["confidence"] == pytest.approx(theirs["confidence"], abs=1e-4)


def test_the_bundled_model_is_the_same_in_both() -> None:
    assert_same(of_engine("--model", BUNDLED), inspect(parse_arguments([str(BUNDLED), "--ids", IDS])))


def test_an_adapter_merged_here_is_the_adapter_merged_by_the_engine(
    released: Path,  # noqa: F811
    conversations: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(2)
    fine_tune(
        monkeypatch, "--model", released, "--data", conversations, "--out", tmp_path / "run", "--lora", 4,
        "--optimizer", "adamw", "--lr", 1e-2, "--threads", 1, "--minutes", 0.05, "--device", "cpu",
    )  # fmt: skip
    adapter, merged = tmp_path / "run" / "adapter", tmp_path / "merged"
    merge.merge(released, adapter, merged)
    reference = inspect(parse_arguments([str(released), "--adapter", str(adapter), "--ids", IDS]))
    assert_same(of_engine("--model", released, "--adapter", adapter), reference)
    assert_same(of_engine("--model", merged), inspect(parse_arguments([str(merged), "--ids", IDS])))
