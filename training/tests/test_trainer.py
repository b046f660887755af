"""A run keeps its state across an interruption and follows the clock."""

import json
from pathlib import Path

import torch
from torch import nn

from pipo.batches import Batch
from pipo.trainer import Optimizers, Run, warm_then_decay


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 64, bias=False)
        self.outer = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(x)))[:, 0]


def endless_batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        ids = torch.randn(16, 64, generator=generator)
        yield Batch(ids, torch.ones(16, 64))


def new_run(folder: Path) -> Run:
    torch.manual_seed(0)
    model = Tiny()
    return Run(folder, model, Optimizers(model, 1e-2))


def train(run: Run, seconds: float) -> None:
    losses = lambda batch: {"loss": ((run.model(batch.ids) - batch.ids[:, 0]) ** 2).mean()}  # noqa: E731
    run.train(endless_batches(), losses, seconds, decay_from=1.0, warm_steps=1)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    first = new_run(tmp_path)
    train(first, 1.0)
    second = new_run(tmp_path)
    assert (second.step, second.tokens, second.seconds) == (first.step, first.tokens, first.seconds)
    for name, value in first.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value)
    train(second, second.seconds + 0.5)
    assert second.step > first.step
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)


def test_the_rate_warms_up_holds_and_falls_to_zero() -> None:
    rates = [warm_then_decay(step, step / 100, 10, 0.5) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[50] == 1.0
    assert rates[75] == 0.5 and rates[100] == 0.0
