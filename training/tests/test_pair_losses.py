"""Fine-tuning losses with a teacher and a pre-gate; `test_fim.py` holds the plain ones against their definition."""

from contextlib import nullcontext

import pytest
import torch
from tiny_models import PAD, pair_model, plain_model, random_ids

from pipo import pair_losses as module
from pipo.batches import Batch
from pipo.pair_losses import pair_losses

IDS = [11, 12, 13, 14, 15, PAD, 16, PAD, 17, 18, 19, 20]  # pairs (15, PAD), (16, PAD) were one pair once


def batch() -> Batch:
    ids = torch.tensor([IDS, [*IDS[:8], 17, PAD, PAD, PAD]])
    weights = (ids != PAD).float()
    weights[:, :2] = 0
    weights[0, 9] = 4.0
    return Batch(ids, weights)


@pytest.mark.parametrize("kind", ["kl", "tv"])
def test_the_draft_learns_the_teachers_distribution_behind_the_same_real_tokens(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "narrow_products", lambda _device: nullcontext())  # fp32, so that errors show
    student, teacher = pair_model(), plain_model()
    data = batch()
    losses = pair_losses(student, data, kind, teacher)

    errors, weights = [], []
    for ids, weight in zip(data.ids.tolist(), data.weights.tolist(), strict=True):
        out = student.pair_forward(torch.tensor([ids]))
        for row in range(len(ids) // 2 - 1):
            slot = 2 * row + 3
            if weight[slot] == 0:
                continue
            text = [i for i in ids[:slot] if i != PAD]
            p = teacher(torch.tensor([text]))[0, -1].softmax(-1)
            q = out.second_logits[0, row].softmax(-1)
            errors.append((q * (q / p).log()).sum() if kind == "kl" else 1 - torch.minimum(p, q).sum())
            weights.append(weight[slot])
    expected = sum(e * w for e, w in zip(errors, weights, strict=True)) / sum(weights)
    torch.testing.assert_close(losses["second"], expected, atol=1e-4, rtol=1e-4)
    losses["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_a_pre_gate_learns_and_moves_nothing_else() -> None:
    model = pair_model()
    model.add_pre_gate()
    data = Batch(random_ids(2, 24), torch.ones(2, 24))
    pair_losses(model, data)["pre_gate"].backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {"pre_gate.weight", "pre_gate.bias"}
