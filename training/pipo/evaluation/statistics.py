"""The arithmetic of the report: shares with their errors, pass@k, text similarity, calibration, ranking quality."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def share(flags: Sequence[bool]) -> float | None:
    """Share of true values; None for none at all."""
    return sum(flags) / len(flags) if flags else None


def standard_error(mean: float | None, count: int) -> float | None:
    """Of a share measured on `count` independent cases."""
    return None if mean is None else math.sqrt(mean * (1 - mean) / count)


def difference_error(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Standard error of the difference of two shares that were measured on the same cases."""
    differences = [int(x) - int(y) for x, y in zip(a, b, strict=True)]
    mean = sum(differences) / len(differences)
    return math.sqrt(sum((d - mean) ** 2 for d in differences)) / len(differences)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Probability that k of `samples` answers, drawn without replacement, hold at least one of the `right` ones.

    The unbiased estimator of Chen et al., "Evaluating Large Language Models Trained on Code", 2021.
    """
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(f"no pass@{k} of {samples} samples with {right} right ones")
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance; a whole column of the table per step, as bits of integers (Myers 1999, Hyyrö 2003)."""
    if not a or not b:
        return len(a) + len(b)
    places: dict[str, int] = {}
    for i, character in enumerate(a):
        places[character] = places.get(character, 0) | 1 << i
    last, everything = 1 << (len(a) - 1), (1 << len(a)) - 1
    more, less, distance = everything, 0, len(a)  # rows at which the column rises or falls by one
    for character in b:
        equal = places.get(character, 0)
        vertical = equal | less
        horizontal = (((equal & more) + more) ^ more) | equal
        right = less | (~(horizontal | more) & everything)
        left = more & horizontal
        distance += bool(right & last) - bool(left & last)
        right = right << 1 | 1
        more = (left << 1 | ~(vertical | right)) & everything
        less = right & vertical & everything
    return distance


def edit_similarity(found: str, expected: str) -> float:
    """1 − Levenshtein distance / length of the longer string."""
    return 1 - edit_distance(found, expected) / max(len(found), len(expected), 1)


def ranking_quality(scores: Tensor, positive: Tensor) -> float | None:
    """ROC-AUC: how often a positive case [n] scores above a negative one, ties counting half; None without both."""
    positive = positive.bool()
    above, below = int(positive.sum()), int((~positive).sum())
    if not above or not below:
        return None
    values, inverse, counts = torch.unique(scores.double(), return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts.double() - 1) / 2)[inverse]
    return ((ranks[positive].sum() - above * (above + 1) / 2) / (above * below)).item()


def calibration_bins(confidence: Tensor, truth: Tensor, bins: int = 10) -> tuple[list[dict[str, float]], float]:
    """Confidence [n] against what it predicts [n], in bins of equal width; and the expected calibration error."""
    places = (confidence * bins).long().clamp(max=bins - 1)
    rows, error = [], 0.0
    for index in range(bins):
        inside = places == index
        if not inside.any():
            continue
        said, found = confidence[inside].mean().item(), truth[inside].double().mean().item()
        weight = inside.double().mean().item()
        error += weight * abs(said - found)
        rows.append({"from": index / bins, "share": weight, "confidence": said, "found": found})
    return rows, error
