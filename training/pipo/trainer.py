"""What pretraining and fine-tuning share: the optimiser, the schedule in wall-clock time, checkpoints, metrics."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipo.batches import Batch

CHECKPOINT_SECONDS = 240
LOG_STEPS = 10


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder written by pipo.data, or conversations.jsonl")
    parser.add_argument("--tokenizer", type=Path, help="folder written by pipo.tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint and metrics folder; resumed if it exists")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="training time; a resumed run counts what it has used")
    budget.add_argument("--until", help="HH:MM at which training ends")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU where there is one")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--loaders", type=int, default=0, help="processes that build batches; several feed a GPU")
    parser.add_argument("--rows", type=int, default=8, help="rows per step")
    parser.add_argument(
        "--lr", type=float, default=4e-3, help="for adamw on released models 1e-4 (adapter), 1e-5 (all)"
    )
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--seed", type=int, default=1)


@dataclass(frozen=True)
class Workers:
    """The processes of one data-parallel run, as `torchrun` starts them; alone when it did not.

    On a CPU, single-threaded workers are about twice as fast as one process with as many threads: the operations
    of a small model are too short to be shared.
    """

    rank: int = 0
    count: int = 1

    @staticmethod
    def join() -> Workers:
        """The group this process was started in; call it once."""
        if "WORLD_SIZE" not in os.environ:
            return Workers()
        dist.init_process_group("gloo")
        return Workers(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def sum(self, value: float) -> float:
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return total.item()

    def of_lead(self, value: float) -> float:
        return self.sum(value if self.leads else 0.0)


def pick_device(name: str) -> torch.device:
    """The device of `--device`; raises ValueError where a named GPU is missing."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda, but PyTorch sees no GPU; install its CUDA build or use --device cpu")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def narrow_products(device: torch.device) -> torch.autocast:
    """Matrix products in bf16 within the block, everything that sums in fp32."""
    return torch.autocast(device.type, torch.bfloat16)


def budget_seconds(arguments: argparse.Namespace, used: float) -> float:
    """Whole training time of the run, including what earlier parts of it used."""
    if arguments.minutes is not None:
        return arguments.minutes * 60
    hour, minute = map(int, arguments.until.split(":"))
    now = datetime.now()
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if end <= now:
        end += timedelta(days=1)
    return used + (end - now).total_seconds()


def warm_then_decay(step: int, progress: float, warm_steps: int, decay_from: float) -> float:
    """Linear warm-up in steps, constant, then linear to zero from `decay_from` of the time budget on."""
    warm = min(1.0, (step + 1) / warm_steps)
    return warm * min(1.0, max(0.0, (1.0 - progress) / (1.0 - decay_from))) if decay_from < 1 else warm


class Optimizers:
    """Muon for the matrices inside layers, AdamW for embeddings, norms, biases and everything else; or all AdamW."""

    def __init__(self, model: nn.Module, lr: float, kind: str = "muon") -> None:
        matrices, others = [], []
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        for name, parameter in trained:
            inner = parameter.ndim == 2 and min(parameter.shape) >= 64 and "embed_tokens" not in name
            (matrices if inner else others).append(parameter)
        self.lr = lr
        if kind == "adamw":
            self.all = [torch.optim.AdamW([p for _, p in trained], lr=lr, betas=(0.9, 0.95), weight_decay=0.1)]
            return
        self.all = [
            torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        ]

    def step(self, scale: float) -> None:
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.all]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimizer, state in zip(self.all, states, strict=True):
            optimizer.load_state_dict(state)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Everything but frozen parameters, which a run can read again where it first found them."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


class MetricWindow:
    """Means of what was added since it was made, and the speed."""

    def __init__(self, tokens: int) -> None:
        self.tokens, self.started, self.count = tokens, time.monotonic(), 0
        self.sums: dict[str, Tensor] = {}  # tensors, so that a GPU is asked for numbers only when they are read

    def add(self, values: dict[str, Tensor]) -> None:
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()

    def summary(self, tokens: int) -> dict[str, float]:
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        return means | {"tokens_per_second": (tokens - self.tokens) / (time.monotonic() - self.started)}


class Run:
    """One resumable training run in a folder: `checkpoint.pt`, `metrics.jsonl`."""

    def __init__(self, folder: Path, model: nn.Module, optimizers: Optimizers, workers: Workers | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model, self.optimizers = folder, model, optimizers
        self.workers = workers or Workers()
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        if (folder / "checkpoint.pt").exists():
            self._resume()

    def _resume(self) -> None:
        saved = torch.load(self.folder / "checkpoint.pt", weights_only=True, map_location="cpu")
        self.model.load_state_dict(saved["model"], strict=len(saved["model"]) == len(self.model.state_dict()))
        self.optimizers.load_state_dict(saved["optimizers"])
        self.step, self.tokens, self.seconds = saved["step"], saved["tokens"], saved["seconds"]
        print(f"resumed at step {self.step}, {self.tokens / 1e6:.1f}M tokens, {self.seconds / 60:.1f} min", flush=True)

    def save(self) -> None:
        """Writes beside the old checkpoint and swaps, so that a kill never leaves half a file."""
        fresh = self.folder / "checkpoint.tmp"
        state = {"model": trained_state(self.model), "optimizers": self.optimizers.state_dict(), "step": self.step,
                 "tokens": self.tokens, "seconds": self.seconds}  # fmt: skip
        torch.save(state, fresh)
        fresh.replace(self.folder / "checkpoint.pt")

    def log(self, row: dict[str, float]) -> None:
        row = {"step": self.step, "tokens": self.tokens, "minutes": round(self.seconds / 60, 2), **row}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)

    def train(
        self,
        batches: Iterator[Batch],
        losses_of: Callable[[Batch], dict[str, Tensor]],
        seconds: float,
        decay_from: float,
        at_checkpoint: Callable[[], None] = lambda: None,
        warm_steps: int = 60,
        accumulate: int = 1,
    ) -> None:
        """Trains until the time budget is used or SIGTERM comes; either way the last state is saved.

        `losses_of` returns named scalars; `loss` is differentiated. `accumulate` batches make a step.
        """
        asked_to_stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_stop.append(number))
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        device = parameters[0].device
        before, last_save, started = self.seconds, time.monotonic(), time.monotonic()
        window, stop = MetricWindow(self.tokens), self.seconds >= seconds
        while not stop:
            for _ in range(accumulate):
                batch = next(batches)
                self.tokens += int(self.workers.sum(int((batch.weights > 0).sum())))
                losses = losses_of(batch.to(device))
                (losses["loss"] / accumulate).backward()
                window.add(losses)
            self.workers.average_gradients(parameters)
            norm = nn.utils.clip_grad_norm_(parameters, 1.0)
            scale = warm_then_decay(self.step, self.seconds / seconds, warm_steps, decay_from)
            self.optimizers.step(scale)
            self.step += 1
            self.seconds = self.workers.of_lead(before + time.monotonic() - started)
            stop = self.workers.of_lead(float(self.seconds >= seconds or bool(asked_to_stop))) > 0
            if not self.workers.leads:
                continue
            if self.step % LOG_STEPS == 0:
                row = {"gradient_norm": norm.item(), "lr": self.optimizers.lr * scale}
                self.log(window.summary(self.tokens) | row)
                window = MetricWindow(self.tokens)
            if time.monotonic() - last_save > CHECKPOINT_SECONDS:
                self.save()
                at_checkpoint()
                last_save = time.monotonic()
        if self.workers.leads:
            self.save()
            at_checkpoint()
