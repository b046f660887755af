"""Distillation losses against exact expectations on a toy vocabulary, alignment against a written-out oracle."""

import pytest
import torch

from pipo.distillation import compact, distill, fill_pad_labels, first_rows, row_losses, second_rows
from pipo.losses import IGNORED

V = 7


def logits(rows: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    student, teacher = (2.0 * torch.randn(rows, V, generator=source, dtype=torch.float32) for _ in range(2))
    return student.requires_grad_(), teacher


def probabilities(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.softmax(student.detach(), -1), torch.softmax(teacher, -1)


def gradient(value: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value.sum(), of, retain_graph=True)[0]


def exact_kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    p_s, p_t = torch.softmax(student, -1), torch.softmax(teacher, -1)
    return sum(p_s[:, v] * (p_s[:, v].log() - p_t[:, v].log()) for v in range(V))


@pytest.mark.parametrize("seed", range(3))
def test_the_sampled_loss_expects_the_kl_and_its_gradient(seed: int) -> None:
    student, teacher = logits(seed=seed)
    p_s, _ = probabilities(student, teacher)
    value, slope, naive = 0.0, torch.zeros(1, V), torch.zeros(1, V)
    for y in range(V):  # every token that could have been sampled, by its probability
        loss = row_losses(student, teacher, torch.tensor([y]), "sampled").loss
        value += p_s[0, y] * loss.item()
        slope += p_s[0, y] * gradient(loss, student)
        naive += p_s[0, y] * gradient(student.log_softmax(-1)[:, y] - teacher.log_softmax(-1)[:, y], student)
    kl = exact_kl(student, teacher)
    assert value == pytest.approx(kl.item(), rel=1e-5)
    assert slope == pytest.approx(gradient(kl, student), abs=1e-5)
    assert naive == pytest.approx(torch.zeros(1, V), abs=1e-6)  # the plain estimate has no gradient to offer
    assert gradient(kl, student).abs().max() > 0.05


def test_the_full_loss_is_the_exact_kl() -> None:
    student, teacher = logits(5)
    losses = row_losses(student, teacher, torch.zeros(5, dtype=torch.long), "full")
    kl = exact_kl(student, teacher)
    assert losses.loss.detach() == pytest.approx(kl.detach(), rel=1e-5)
    assert gradient(losses.loss, student) == pytest.approx(gradient(kl, student), abs=1e-6)


@pytest.mark.parametrize("top_k", [V, V + 5])
def test_topk_of_everything_is_full(top_k: int) -> None:
    student, teacher = logits(5)
    labels = torch.tensor([0, 3, 6, 1, 1])
    full, topk = (row_losses(student, teacher, labels, mode, top_k) for mode in ("full", "topk"))
    assert topk.loss.detach() == pytest.approx(full.loss.detach(), rel=1e-5)
    assert gradient(topk.loss, student) == pytest.approx(gradient(full.loss, student), abs=1e-6)


def test_topk_renormalises_on_the_union_and_counts_no_token_twice() -> None:
    student, teacher = logits(6, seed=2)
    labels = torch.tensor([0, 1, 2, 3, 4, 5])
    losses = row_losses(student, teacher, labels, "topk", top_k=2)
    for row, y in enumerate(labels.tolist()):
        best = [set(x[row].detach().argsort(descending=True)[:2].tolist()) for x in (student, teacher)]
        union = sorted(best[0] | best[1] | {y})
        p_s, p_t = (torch.softmax(x[row].detach()[union], -1) for x in (student, teacher))
        at = union.index(y)
        assert losses.loss[row].item() == pytest.approx((p_s * (p_s / p_t).log()).sum().item(), rel=1e-4, abs=1e-6)
        assert losses.target[row].item() == pytest.approx(min(1.0, (p_t[at] / p_s[at]).item()), rel=1e-5)


def test_the_gradient_of_total_variation_is_its_closed_form() -> None:
    student, teacher = logits(4, seed=1)
    with torch.no_grad():
        student[3] = teacher[3]  # equal distributions: every token counts as covered
    losses = row_losses(student, teacher, torch.zeros(4, dtype=torch.long), "tv")
    q, p = probabilities(student, teacher)
    covered = (q <= p).float()
    expected = -q * (covered - (covered * q).sum(-1, keepdim=True))
    assert gradient(losses.loss, student) == pytest.approx(expected, abs=1e-6)
    assert losses.loss.detach() == pytest.approx(0.5 * (p - q).abs().sum(-1), abs=1e-6)


def test_confidence_targets() -> None:
    student, teacher = logits(6, seed=3)
    labels = torch.arange(6)
    p_s, p_t = probabilities(student, teacher)
    at = [(p_s[i, i].item(), p_t[i, i].item()) for i in range(6)]
    sampled = row_losses(student, teacher, labels, "sampled")
    assert sampled.target.tolist() == pytest.approx([min(1.0, t / s) for s, t in at], rel=1e-5)
    assert sampled.teacher_log_prob.exp().tolist() == pytest.approx([t for _, t in at], rel=1e-5)
    assert any(t > s for s, t in at) and any(t < s for s, t in at)
    for mode in ("full", "tv"):
        target = row_losses(student, teacher, labels, mode).target
        assert target == pytest.approx(torch.minimum(p_s, p_t).sum(-1), rel=1e-5)
        assert not target.requires_grad


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="forward"):
        row_losses(*logits(), torch.tensor([0]), "forward")


P = 99  # PAD
# Prompt 10 11 12 PAD, then a kept pair, a rejected draft, a kept pair, a stop as first token with filler behind.
IDS = torch.tensor([[10, 11, 12, P, 1, 2, 3, P, 4, 5, 6, P], [20, 21, 7, P, 8, P, P, P, P, P, P, P]])
_ = IGNORED
LABELS = torch.tensor([[_, _, _, _, 1, 2, 3, P, 4, 5, 6, _], [_, _, 7, P, 8, P, _, _, _, _, _, _]])


def test_the_teacher_reads_the_text_without_pads() -> None:
    ids, idx = compact(IDS, P)
    assert ids.tolist() == [[10, 11, 12, 1, 2, 3, 4, 5, 6], [20, 21, 7, 8, P, P, P, P, P]]
    assert idx[0].tolist() == [0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8]
    assert idx[1].tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]


def table(rows) -> list[tuple[int, ...]]:
    return list(zip(*(x.tolist() for x in (rows.sequence, rows.student, rows.teacher, rows.labels)), strict=True))


def test_student_and_teacher_rows_are_aligned() -> None:
    ids, idx = compact(IDS, P)
    # sequence, student row, teacher row, label
    firsts = [(0, 1, 2, 1), (0, 2, 4, 3), (0, 3, 5, 4), (0, 4, 7, 6), (1, 0, 1, 7), (1, 1, 2, 8)]
    kept = [(0, 1, 3, 2), (0, 3, 6, 5)]
    closed = [(0, 2, 5, P), (1, 0, 2, P), (1, 1, 3, P)]  # the stop's filler is not among them
    assert table(first_rows(LABELS, idx)) == firsts
    assert table(second_rows(LABELS, idx, P, fill_pad_label=False)) == kept
    assert table(second_rows(LABELS, idx, P)) == sorted(kept + closed)
    for sequence, _student, teacher, label in firsts + kept:
        assert ids[sequence, teacher + 1] == label  # the teacher row's own next token is the label


def test_a_closed_gate_s_label_is_the_student_s_best_token() -> None:
    student = torch.tensor([[1.0, 9.0, 2.0, 0.0], [3.0, 0.0, 9.0, 4.0], [5.0, 1.0, 9.0, 0.0]])
    assert fill_pad_labels(student, torch.tensor([2, 2, 1]), pad=2).tolist() == [1, 3, 1]


@pytest.mark.parametrize("mode", ["sampled", "topk", "full", "tv"])
def test_chunks_change_neither_losses_nor_gradients(mode: str) -> None:
    source = torch.Generator().manual_seed(5)
    hidden, teacher_hidden = (torch.randn(11, 4, generator=source) for _ in range(2))
    matrix, teacher_matrix = (torch.randn(V, 4, generator=source) for _ in range(2))
    labels = torch.randint(0, V, (11,), generator=source)
    results = []
    for rows_per_chunk in (100, 11, 4, 1):
        rows, weights = hidden.clone().requires_grad_(), matrix.clone().requires_grad_()
        losses = distill(
            (rows, lambda x, w=weights: x @ w.t()),
            (teacher_hidden, lambda x: x @ teacher_matrix.t()),
            labels,
            pad=3,
            mode=mode,
            top_k=2,
            rows_per_chunk=rows_per_chunk,
        )
        (losses.loss * torch.arange(1.0, 12.0)).sum().backward()
        results.append((losses.loss.detach(), losses.target, rows.grad, weights.grad))
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    direct = row_losses(hidden @ matrix.t(), teacher_hidden @ teacher_matrix.t(),
                        fill_pad_labels(hidden @ matrix.t(), labels, 3), mode, 2)  # fmt: skip
    assert results[0][0] == pytest.approx(direct.loss, abs=1e-5)
