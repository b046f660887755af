"""Small plots of a report: is the confidence honest, what does a threshold cost, what is the gate worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402

COLOURS = ("#4878a8", "#c07848", "#6a9a6a", "#8a6a9a")
GREY = "#9a9a9a"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
}


def draw(report: dict, out: Path) -> list[Path]:
    """Writes the PNG files that the report has numbers for, and gives their paths."""
    gates = [g for g in report["gates"] if g["draftSeesPrompt"]]
    if not gates:
        return []
    drawings: dict[str, Callable[[Axes], None]] = {
        "reliability": lambda axes: reliability(axes, gates),
        "thresholds": lambda axes: thresholds(axes, gates, report),
        "gate": lambda axes: precision(axes, gates),
    }
    return [_write(out / f"{name}.png", drawing) for name, drawing in drawings.items()]


def reliability(axes: Axes, gates: list[dict]) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    for colour, g in zip(COLOURS, gates, strict=False):
        said = [row["confidence"] for row in g["calibration"]]
        axes.plot(
            said,
            [row["draftRight"] for row in g["calibration"]],
            "o-",
            color=colour,
            label=f"{g['model']}: drafts right",
        )
        axes.plot(
            said, [row["labelProbability"] for row in g["calibration"]], "s--", color=colour, alpha=0.5,
            label=f"{g['model']}: probability of the true token",
        )  # fmt: skip
    axes.set(xlabel="confidence", ylabel="measured", title="Is the confidence honest?", xlim=(0, 1), ylim=(0, 1))
    axes.legend()


def thresholds(axes: Axes, gates: list[dict], report: dict) -> None:
    for colour, g in zip(COLOURS, gates, strict=False):
        steps = [row["threshold"] for row in g["table"]]
        axes.plot(
            steps, [row["tokensPerStep"] for row in g["table"]], "o-", color=colour, label=f"{g['model']}, true text"
        )
        decoded = sorted(
            (row["threshold"], row["tokensPerStep"])
            for row in report["completion"]
            if row["model"] == g["model"]
            and row["kind"] == "line"
            and row["gate"] == "confidence"
            and row["draftSeesPrompt"]
        )
        axes.plot(*zip(*decoded, strict=True), "s--", color=colour, alpha=0.5, label=f"{g['model']}, decoded lines")
    axes.axvline(report["chosenThreshold"], color=GREY, linewidth=1, linestyle=":")
    axes.set(xlabel="threshold", ylabel="tokens per step", title="What a threshold gives", ylim=(0.95, 2.05))
    axes.secondary_yaxis("right", functions=(lambda t: t - 1, lambda a: a + 1)).set_ylabel("acceptance rate")
    axes.legend()


def precision(axes: Axes, gates: list[dict]) -> None:
    for colour, g in zip(COLOURS, gates, strict=False):
        rows = [row for row in g["table"] if row["precision"] is not None]
        pads = [1 - row["acceptanceRate"] for row in rows]
        axes.plot(pads, [row["precision"] for row in rows], "o-", color=colour, label=f"{g['model']}: gate")
        axes.plot(
            pads, [row["oraclePrecision"] for row in rows], color=colour, alpha=0.4, label=f"{g['model']}: oracle"
        )
        axes.plot(
            pads, [row["randomPrecision"] for row in rows], "--", color=colour, alpha=0.4, label=f"{g['model']}: random"
        )
    axes.set(
        xlabel="share of PAD", ylabel="right among accepted drafts", title="What the gate is worth", ylim=(0, 1.02)
    )
    axes.legend()


def _write(path: Path, drawing: Callable[[Axes], None]) -> Path:
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(5.2, 3.6))
        drawing(axes)
        figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)
    return path
