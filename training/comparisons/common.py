"""What the comparisons share: the proxy model, runs of a fixed number of steps, paired differences, result files.

A run is measured in steps, not in minutes, so that the sides of a comparison see equally many tokens on a machine
that has other work, too.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from pipo.batches import Batch, BatchSource, Mixture, TextFile, plain_source, read_split
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fim import Sampler
from pipo.modeling import PipoModel
from pipo.pretrain import compile_layers, plain_losses
from pipo.starting import new_model
from pipo.trainer import Optimizers, warm_then_decay

PROXY = Path(__file__).resolve().parents[1] / "configs" / "proxy-2m.json"
RESULTS = Path(__file__).resolve().parent / "results"
WARM_STEPS = 20
LOG_STEPS = 5


def arguments_of(description: str | None, **defaults: int) -> argparse.Namespace:
    """The command line of a comparison; `defaults` are further whole-number options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by pipo.data")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder written by pipo.tokenizer")
    parser.add_argument("--cache", type=Path, required=True, help="folder for checkpoints; finished runs are reused")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--length", type=int, default=512, help="tokens per row")
    parser.add_argument("--rows", type=int, default=8, help="rows per step")
    parser.add_argument("--base-steps", type=int, default=800, help="steps of the common base on plain text")
    for name, value in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def load_tokenizer(arguments: argparse.Namespace) -> Tokenizer:
    return Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))


def held_out(arguments: argparse.Namespace) -> list[TextFile]:
    return read_split(arguments.data / "held-out.jsonl")


def run_steps(
    model: PipoModel,
    source: BatchSource,
    losses_of: Callable[[Batch], dict[str, Tensor]],
    steps: int,
    lr: float = 4e-3,
    decay_from: float = 0.5,
) -> dict[str, float]:
    """Trains for `steps` steps; returns supervised tokens, seconds and the mean loss of the last twentieth."""
    optimizers, batches = Optimizers(model, lr), source.prefetched(0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    tokens, recent, started = 0, [], time.monotonic()
    compile_layers(model)
    with fast_gated_deltanet():
        for step in range(steps):
            batch = next(batches)
            losses = losses_of(batch)
            losses["loss"].backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizers.step(warm_then_decay(step, step / steps, WARM_STEPS, decay_from))
            tokens += int((batch.weights > 0).sum())
            recent = [*recent, float(losses["loss"].detach())][-max(1, steps // 20) :]
            if (step + 1) % LOG_STEPS == 0:
                speed = tokens / (time.monotonic() - started)
                print(f"step {step + 1}/{steps} loss {recent[-1]:.3f} tokens/s {speed:.0f}", flush=True)
    return {"tokens": tokens, "seconds": time.monotonic() - started, "loss": sum(recent) / len(recent)}


def plain_base(arguments: argparse.Namespace, seed: int = 1) -> Path:
    """Checkpoint of a proxy trained on plain text alone; trained once per cache folder, steps and seed."""
    path = arguments.cache / f"base-{arguments.base_steps}-{seed}.pt"
    if not path.exists():
        tokenizer = load_tokenizer(arguments)
        torch.manual_seed(seed)
        model = new_model(PROXY, tokenizer)
        files = read_split(arguments.data / "train.jsonl")
        source = plain_source(files, Sampler(tokenizer, arguments.length), arguments.rows, Mixture(0.0), seed)
        facts = run_steps(model, source, lambda batch: plain_losses(model, batch), arguments.base_steps, decay_from=1.0)
        save(path, model, facts)
    return path


def save(path: Path, model: PipoModel, facts: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    torch.save({"model": model.state_dict(), "facts": facts}, fresh)
    fresh.replace(path)


def load_proxy(path: Path, tokenizer: Tokenizer) -> PipoModel:
    """A plain proxy from a checkpoint of `save`."""
    model = new_model(PROXY, tokenizer)
    model.load_state_dict(torch.load(path, weights_only=True)["model"])
    return model


def paired(values: Tensor, reference: Tensor) -> dict[str, float]:
    """Mean difference of two measures of the same cases [n] and its standard error."""
    difference = values - reference
    return {
        "difference": difference.mean().item(),
        "standardError": (difference.std() / math.sqrt(len(difference))).item(),
    }


def signed(difference: dict[str, float]) -> str:
    """A difference of `paired` for a table."""
    return f"{difference['difference']:+.4f} ± {difference['standardError']:.4f}"


def write_results(name: str, results: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
