"""Makes the fixtures of `test/golden`: tiny random checkpoints and what they must compute, in fp32.

    cd training && python -m goldens.make_goldens            all of them
    cd training && python -m goldens.make_goldens tiny-08b   one

Equal versions of torch give equal files.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from goldens.lora import write_lora_fixture
from goldens.random_weights import randomize
from goldens.record import record
from goldens.tables import GoldenText, stored_tensors, write_config
from pipo.checkpoint import BASE_PREFIX, load_model, save_pipo, save_plain
from pipo.config import make_config
from pipo.families import family_of
from pipo.modeling import PipoModel

GOLDEN_DIR = Path(__file__).resolve().parents[2] / "test" / "golden"


@dataclass
class Fixture:
    name: str
    seed: int
    dims: dict
    compressor: str | None = None
    dtype: torch.dtype = torch.bfloat16
    prompt_lengths: tuple[int, ...] = (64, 47)
    lora: bool = False
    pre_gate: bool = False
    config: PreTrainedConfig = field(init=False)

    def __post_init__(self) -> None:
        self.config = make_config(**self.dims)


def dims(hidden, inner, layers, heads, linear, vocab, tied=True) -> dict:
    """Sizes of a Qwen3.5; linear = (Nk, Nv, dk = dv), the others as for `dense`."""
    return {
        **dense("qwen3_5_text", hidden, inner, layers, heads, vocab, tied),
        "linear_num_key_heads": linear[0],
        "linear_num_value_heads": linear[1],
        "linear_key_head_dim": linear[2],
        "linear_value_head_dim": linear[2],
    }


def dense(model_type, hidden, inner, layers, heads, vocab, tied=True, **more) -> dict:
    """heads = (Nq, Nkv, head_dim), vocab = (rows, real, PAD)."""
    return {
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "head_dim": heads[2],
        "vocab_size": vocab[0],
        "real_vocab_size": vocab[1],
        "pad_token_id": vocab[2],
        "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
        **more,
    }


def rope(kind: str, factor: float, theta: float = 1e4, **more) -> dict:
    """A stretched rotation. Where there is a training length it is 16: the prompts are longer than that."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, "factor": factor, **more}}


LLAMA3 = rope("llama3", 8.0, 5e5, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = rope("yarn", 4.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=0.5)
LINEAR = rope("linear", 4.0, 1e5)  # as DeepSeek-Coder has it

FIXTURES = (
    Fixture("tiny-08b", 1, dims(64, 96, 4, (4, 2, 32), (4, 4, 16), (320, 305, 288)), "mlp", torch.float32),
    Fixture("tiny-4b", 2, dims(64, 96, 8, (4, 1, 32), (2, 4, 32), (384, 361, 352)), "linear"),
    # Rows that no vector width divides: 437 ids, 6 heads in the gates of the recurrence.
    Fixture("tiny-9b", 3, dims(96, 128, 4, (2, 1, 64), (3, 6, 16), (437, 421, 400), tied=False), "mlp"),
    # Head sizes of the released models (256 with 64 rotated, 128), and layers that follow no interval.
    Fixture(
        "tiny-plain",
        4,
        {
            **dims(64, 96, 3, (2, 1, 256), (1, 2, 128), (256, 250, 240)),
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        },
    ),
    Fixture("tiny-lora", 5, dims(64, 96, 4, (4, 1, 32), (2, 4, 16), (256, 243, 224)), lora=True),
    Fixture("tiny-pregate", 6, dims(64, 96, 4, (4, 2, 32), (2, 4, 16), (256, 243, 224)), "linear", pre_gate=True),
    Fixture("tiny-qwen2", 7, dense("qwen2", 64, 96, 3, (7, 1, 32), (307, 293, 280), rope_theta=1e6), "mlp"),
    # Heads that no vector width divides, too.
    Fixture("tiny-qwen3", 8, dense("qwen3", 64, 96, 3, (8, 2, 20), (349, 331, 320), False, rope_theta=1e6), "linear"),
    Fixture(
        "tiny-llama",
        9,
        dense("llama", 64, 96, 3, (4, 2, 16), (320, 301, 288), rms_norm_eps=1e-5, **LLAMA3),
        "mlp",
        pre_gate=True,
    ),
    Fixture(
        "tiny-llama-yarn",
        10,
        dense("llama", 64, 96, 2, (2, 2, 32), (256, 251, 240), tied=False, **YARN),
        dtype=torch.float16,
    ),
    Fixture("tiny-llama-linear", 11, dense("llama", 64, 96, 2, (4, 1, 32), (256, 251, 240), **LINEAR)),
)


def make(fixture: Fixture) -> None:
    directory = GOLDEN_DIR / fixture.name
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    model, tensor_lines = _write_checkpoint(fixture, directory)
    write_config(directory / "config.txt", model)
    (directory / "tensors.txt").write_text("\n".join(tensor_lines) + "\n", encoding="utf-8")

    text = GoldenText()
    variety = 1 if family_of(fixture.config).recurrent else 8  # the older goldens stay as they were recorded
    document = record(model, fixture.prompt_lengths, fixture.seed, text, variety)
    text.write(directory / "golden.txt")
    (directory / "golden.json").write_text(compact_json(document), encoding="utf-8")
    size = sum(f.stat().st_size for f in directory.rglob("*") if f.is_file())
    print(f"{fixture.name}: {size / 1e6:.2f} MB")


def _write_checkpoint(fixture: Fixture, directory: Path) -> tuple[PipoModel, list[str]]:
    """Writes the weights and reads them back, so that goldens come from the values as stored."""
    torch.manual_seed(fixture.seed)
    if fixture.lora:
        return write_lora_fixture(fixture.config, fixture.seed, directory)
    if fixture.compressor is None:
        _write_plain(fixture, directory)
    else:
        model = PipoModel(fixture.config, fixture.compressor)
        if fixture.pre_gate:
            model.add_pre_gate()
        save_pipo(randomize(model, fixture.seed), directory, fixture.dtype)
    lines = []
    for file in sorted(directory.glob("*.safetensors")):
        for stored, place in stored_tensors(directory, file).items():
            if not stored.startswith("model.visual."):
                lines.append(f"tensor {stored.replace(BASE_PREFIX, 'model.')} {place.line()}")
    return load_model(directory), lines


def _write_plain(fixture: Fixture, directory: Path) -> None:
    """Of a Qwen3.5 in all that plain directories of it have; of others in one file, as small ones are published."""
    if not family_of(fixture.config).recurrent:
        save_plain(randomize(PipoModel(fixture.config), fixture.seed), directory, fixture.dtype)
        return
    visual = {"model.visual.patch_embed.proj.bias": torch.zeros(8, dtype=torch.bfloat16)}
    model = randomize(PipoModel(fixture.config, draft_head=True), fixture.seed)
    save_plain(model, directory, fixture.dtype, shards=2, extra_tensors=visual)


def compact_json(document: dict) -> str:
    """One line per case, so that a changed case is one changed line."""
    parts = []
    for key, value in document.items():
        cases = ",\n    ".join(json.dumps(case) for case in value)
        parts.append(f'  "{key}": [\n    {cases}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="fixtures to make; default: all")
    names = parser.parse_args().names
    torch.set_num_threads(1)  # the matrices are tiny
    for fixture in FIXTURES:
        if not names or fixture.name in names:
            make(fixture)


if __name__ == "__main__":
    main()
