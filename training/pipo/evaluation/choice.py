"""The default threshold of the gate, chosen from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CANDIDATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WANTED_TOKENS_PER_STEP = 1.5
ALLOWED_LOSS = 0.02  # of exact match, against the plain model


@dataclass(frozen=True)
class Choice:
    """A threshold, and in words why it was chosen and how far it is from what is wanted."""

    threshold: float
    reason: str


def choose_threshold(rows: Sequence[dict], plain_exact: float | None) -> Choice:
    """Of the candidates with enough tokens per step the one with the best exact match, the strictest where several are.

    rows: `threshold`, `exactMatch` and `tokensPerStep` on the rest-of-line cursors, and `differenceError`, the standard
    error of exact match against the plain model. Where no candidate writes enough,
    the one that writes most is taken.
    """
    candidates = [row for row in rows if row["threshold"] in CANDIDATES]
    fast = [row for row in candidates if row["tokensPerStep"] >= WANTED_TOKENS_PER_STEP]
    if fast:
        best = max(fast, key=lambda row: (row["exactMatch"], row["threshold"]))
        reason = (
            f"of the thresholds with at least {WANTED_TOKENS_PER_STEP} tokens per step "
            f"({_listed(fast)}), {best['threshold']:.1f} has the best exact match (of equals, the strictest)"
        )
    else:
        best = max(candidates, key=lambda row: (row["tokensPerStep"], row["exactMatch"]))
        missing = WANTED_TOKENS_PER_STEP - best["tokensPerStep"]
        reason = (
            f"no threshold from {CANDIDATES[0]} on reaches {WANTED_TOKENS_PER_STEP} tokens per step; "
            f"{best['threshold']:.1f} comes nearest, {missing:.2f} below it"
        )
    return Choice(best["threshold"], f"{reason}. {distance(best, plain_exact)}")


def keep_threshold(threshold: float, rows: Sequence[dict], plain_exact: float | None) -> Choice:
    """A threshold that was given; the reason still tells its distance from what is wanted."""
    measured = next(row for row in rows if row["threshold"] == threshold)
    return Choice(threshold, f"{threshold:g} was set by hand. {distance(measured, plain_exact)}")


def distance(row: dict, plain_exact: float | None) -> str:
    """One sentence: tokens per step, and exact match against the plain model's."""
    here = f"There it writes {row['tokensPerStep']:.2f} tokens per step and {100 * row['exactMatch']:.1f} % exact lines"
    if plain_exact is None:
        return f"{here}."
    loss = 100 * (plain_exact - row["exactMatch"])
    against = f"{abs(loss):.1f} ± {100 * row['differenceError']:.1f} points {'fewer' if loss > 0 else 'more'} than"
    verdict = "within" if loss <= 100 * ALLOWED_LOSS + 1e-9 else "not within"
    wanted = f"{verdict} the wanted {100 * ALLOWED_LOSS:.0f} points"
    return f"{here}, {against} the plain model ({100 * plain_exact:.1f} %): {wanted}."


def _listed(rows: Sequence[dict]) -> str:
    return ", ".join(f"{row['threshold']:.1f}" for row in rows)
