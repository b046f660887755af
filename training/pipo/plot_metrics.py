"""Draws the learning curves of runs from their `metrics.jsonl`.

python -m pipo.plot_metrics --out curves.png pretraining=cache/pretrain fine-tuning=cache/sft
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SMOOTHED_ROWS = 9  # a running mean over this many logged rows
SHOWN = ("loss", "first", "second", "draft", "confidence")
FIRST_SHOWN = 0.1  # part of a run that may leave the picture at its top: the fall from random weights


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Rows of a run in the order of its steps; a half-written last line, as a kill leaves it, is dropped."""
    rows = []
    for line in (folder / "metrics.jsonl").open(encoding="utf-8"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def running_mean(values: list[float], width: int = SMOOTHED_ROWS) -> list[float]:
    """Means over windows that end at each value and hold at most `width` of them."""
    return [sum(values[max(0, i + 1 - width) : i + 1]) / min(i + 1, width) for i in range(len(values))]


def plot(runs: dict[str, list[dict[str, float]]], out: Path) -> None:
    """One panel per run: every loss it logged against millions of supervised tokens."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(runs), figsize=(4.2 * len(runs), 3.2), squeeze=False)
    for panel, (name, rows) in zip(panels[0], runs.items(), strict=True):
        top = 0.0
        for metric in SHOWN:
            points = [(row["tokens"] / 1e6, row[metric]) for row in rows if metric in row]
            if points and not (metric == "loss" and "first" in rows[-1]):  # a sum of the others
                means = running_mean([y for _, y in points])
                panel.plot([x for x, _ in points], means, label=metric, linewidth=1.2)
                top = max([top, *means[int(len(means) * FIRST_SHOWN) :]])
        panel.set_ylim(0, 1.1 * top)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("million supervised tokens", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    parser.add_argument("runs", nargs="+", help="NAME=FOLDER with metrics.jsonl")
    arguments = parser.parse_args()
    named = (run.split("=", 1) for run in arguments.runs)
    plot({name: read_metrics(Path(folder)) for name, folder in named}, arguments.out)


if __name__ == "__main__":
    main()
