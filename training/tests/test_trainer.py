"""A run keeps its state across an interruption and follows the clock."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from pipo.batches import Batch
from pipo.plot_metrics import read_metrics, running_mean
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


def test_curves_are_smoothed_and_survive_a_torn_last_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"tokens": 1, "loss": 4.0}\n{"tokens": 2, "loss": 2.0}\n{"tok', "utf-8")
    rows = read_metrics(tmp_path)
    assert [row["loss"] for row in rows] == [4.0, 2.0]
    assert running_mean([4.0, 2.0, 0.0], 2) == [4.0, 3.0, 1.0]


WORKER = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from test_trainer import Tiny
from pipo.trainer import Workers
workers = Workers.join()
torch.manual_seed(0)
model = Tiny()
rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(5))
mine = rows.chunk(workers.count)[workers.rank]
((model(mine) - mine[:, 0]) ** 2).mean().backward()
workers.average_gradients(list(model.parameters()))
assert workers.of_lead(7.0 + workers.rank) == 7.0
assert workers.sum(1.0) == workers.count
torch.save([p.grad for p in model.parameters()], Path(sys.argv[2]) / f"{workers.rank}.pt")
"""


def test_workers_take_the_gradient_of_their_rows_together(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER, "utf-8")
    here = Path(__file__).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(here), str(tmp_path)],
            env={**os.environ, **common, "RANK": str(rank), "PYTHONPATH": str(here.parent)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    torch.manual_seed(0)
    alone = Tiny()
    rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(5))
    ((alone(rows) - rows[:, 0]) ** 2).mean().backward()
    for rank in range(2):
        for found, wanted in zip(torch.load(tmp_path / f"{rank}.pt"), alone.parameters(), strict=True):
            torch.testing.assert_close(found, wanted.grad)
