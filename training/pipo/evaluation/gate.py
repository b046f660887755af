"""What the gate knows: accepted drafts that are right, beside a random gate and an oracle at the same acceptance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipo.evaluation.scoring import PairScores
from pipo.evaluation.statistics import calibration_bins, ranking_quality

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
KEPT_SHARES = (0.9, 0.95, 0.99)  # of the drafts that the gate accepts, with a pre-gate in front of it


def gate_table(confidence: Tensor, right: Tensor) -> list[dict[str, float | None]]:
    """Per threshold: acceptance rate, share of accepted drafts that are right, the share of right drafts kept.

    confidence [n], right [n]. A random gate that accepts the same share is right as often as drafts are on the whole;
    an oracle accepts right drafts first.
    """
    base, count = right.double().mean().item(), len(right)
    rows = []
    for threshold in THRESHOLDS:
        accepted = confidence >= threshold
        rate, hits = accepted.double().mean().item(), int((right & accepted).sum())
        rows.append(
            {
                "threshold": threshold,
                "acceptanceRate": rate,
                "tokensPerStep": 1 + rate,
                "precision": hits / int(accepted.sum()) if rate else None,
                "randomPrecision": base,
                "oraclePrecision": min(1.0, base / rate) if rate else None,
                "rightDraftsAccepted": hits / max(base * count, 1),
            }
        )
    return rows


def gate_summary(scores: PairScores) -> dict[str, object]:
    """The gate's table, its calibration, and how well confidence ranks right drafts above wrong ones.

    The confidence head learns the probability that the second token's distribution gives to the true token.
    """
    probability = torch.exp(-scores.second_nll)
    to_probability, probability_error = calibration_bins(scores.confidence, probability)
    to_right, right_error = calibration_bins(scores.confidence, scores.draft_right)
    for row, other in zip(to_probability, to_right, strict=True):
        row["labelProbability"], row["draftRight"] = row.pop("found"), other["found"]
    return {
        "pairs": len(scores.confidence),
        "draftRight": scores.draft_right.double().mean().item(),
        "table": gate_table(scores.confidence, scores.draft_right),
        "calibration": to_probability,
        "calibrationError": probability_error,
        "calibrationErrorOfRightness": right_error,
        "rankingQuality": {
            "confidence": ranking_quality(scores.confidence, scores.draft_right),
            "draftProbability": ranking_quality(scores.draft_probability, scores.draft_right),
            "firstProbability": ranking_quality(scores.first_probability, scores.draft_right),
        },
    }


def pre_gate_table(scores: PairScores, threshold: float) -> dict[str, object] | None:
    """What a decision before the draft step saves, and the same by the first token's probability alone.

    Both are asked which drafts the gate will accept at `threshold`. None for a model without a pre-gate.
    """
    accepted = scores.confidence >= threshold
    if scores.pre_gate.isnan().any() or not accepted.any():
        return None
    signals = {"preGate": scores.pre_gate, "firstProbability": scores.first_probability}
    return {
        name: {
            "rankingQuality": ranking_quality(signal, accepted),
            "avoided": [{"kept": kept, "share": drafts_avoided(signal, accepted, kept)} for kept in KEPT_SHARES],
        }
        for name, signal in signals.items()
    }


def drafts_avoided(signal: Tensor, accepted: Tensor, kept: float) -> float:
    """Share of draft steps below the highest cut of `signal` that leaves `kept` of the accepted drafts."""
    ordered = signal[accepted].sort(descending=True).values
    cut = ordered[min(math.ceil(kept * len(ordered)), len(ordered)) - 1]
    return (signal < cut).double().mean().item()
