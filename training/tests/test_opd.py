"""On-policy distillation: one batch against an oracle, and a run on the command line that resumes."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_models import PAD, SHAPE, pair_model, plain_model, random_ids

from pipo import opd
from pipo.generation import Sampling, generate_pairs
from pipo.opd import Objective, Policy, as_rollouts, opd_losses, prompts_by_step, rollouts
from pipo.trainer import Workers

STOP = 7
TRAINING = Path(__file__).resolve().parents[1]


@pytest.fixture
def wide(monkeypatch) -> None:
    """Products in fp32, so that an oracle can be close."""
    monkeypatch.setattr(opd, "narrow_products", lambda device: torch.autocast(device.type, enabled=False))


def prompts() -> list[list[int]]:
    return [random_ids(1, length, seed)[0].tolist() for seed, length in enumerate((9, 4, 17, 6))]


def answers(model) -> list:
    sampling = Sampling(temperature=1.0, seed=5)
    return generate_pairs(model, prompts(), 0.5, 12, (STOP, 20, 21, 22, 23, 24, 25, 26), sampling)


def oracle(student, teacher, generations, fill: bool) -> tuple[float, float, float]:
    """The three losses of mode `full`, one sequence and one row at a time."""
    real = SHAPE["real_vocab_size"]
    firsts, drafts, confidences = [], [], []
    for prompt, generation in zip(prompts(), generations, strict=True):
        ids = prompt + [PAD] * (len(prompt) % 2)
        start = len(ids)
        ids = ids + generation.slots
        even = ids + [PAD] * (len(ids) % 2)
        out = student.pair_forward(torch.tensor([even]))
        for slot in range(start, len(ids)):
            heard = [i for i in ids[:slot] if i != PAD]
            log_t = teacher(torch.tensor([heard]))[0, -1, :real].log_softmax(-1)
            row = (slot - 2) // 2
            logits = out.first_logits if slot % 2 == 0 else out.second_logits
            log_s = logits[0, row, :real].log_softmax(-1)
            kl = (log_s.exp() * (log_s - log_t)).sum()
            if slot % 2 == 0:
                firsts.append(kl)
            elif ids[slot] != PAD or fill:
                drafts.append(kl)
                overlap = torch.minimum(log_s.exp(), log_t.exp()).sum()
                score = student.confidence_head(out.hidden[0, row], out.draft_hidden[0, row])
                confidences.append(F.binary_cross_entropy_with_logits(score, overlap))
    return tuple(torch.stack(part).mean().item() for part in (firsts, drafts, confidences))


@pytest.mark.parametrize("fill", [True, False])
def test_a_batch_s_losses_equal_an_oracle_without_batch_padding_and_chunks(wide, fill: bool) -> None:
    student, teacher = pair_model(), plain_model()
    generations = answers(student)
    assert any(PAD in g.slots for g in generations) and any(g.accepted for g in generations)
    assert len({len(g.slots) for g in generations}) > 1 and any(len(g.slots) % 2 for g in generations)
    batch = as_rollouts(prompts(), generations, PAD)
    objective = Objective(fill_pad_label=fill, rows_per_chunk=5)
    with torch.no_grad():
        losses = opd_losses(student, teacher, batch, objective)
        expected = oracle(student, teacher, generations, fill)
    assert [losses[n].item() for n in ("first", "draft", "confidence")] == pytest.approx(expected, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(sum(expected), rel=1e-4)
    assert int(batch.weights.sum()) == sum(len(g.tokens) for g in generations)
    proposed = sum(len(g.slots) // 2 for g in generations)
    assert losses["accepted"].item() == pytest.approx(sum(g.accepted for g in generations) / proposed)


def test_confidence_moves_its_head_alone_and_the_teacher_stays(wide) -> None:
    student, teacher = pair_model(), plain_model().requires_grad_(False)
    batch = as_rollouts(prompts(), answers(student), PAD)
    losses = opd_losses(student, teacher, batch, Objective("topk", "tv"))
    losses["confidence"].backward(retain_graph=True)
    moved = {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"confidence_head"}
    (losses["first"] + losses["draft"]).backward()
    moved = {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"confidence_head", "model", "mtp", "compressor"}


def test_steps_on_fixed_prompts_bring_the_student_nearer_to_its_teacher(wide) -> None:
    student, teacher = pair_model(), plain_model().requires_grad_(False)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    policy = Policy(0.5, 12, (STOP,), Sampling(temperature=1.0))
    values = []
    for batch in rollouts(student, policy, ((prompts() * 2, seed) for seed in range(40))):
        losses = opd_losses(student, teacher, batch, Objective())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        values.append((losses["first"] + losses["draft"]).item())
    assert sum(values[-5:]) < 0.7 * sum(values[:5])


class Numbered:
    """Prompts that say where they come from."""

    def draw(self, source) -> list[int]:
        return [source.randrange(1000)] * source.randrange(1, 40)


def test_prompts_follow_step_and_worker_so_that_a_resumed_run_goes_on() -> None:
    whole = list(islice(prompts_by_step(Numbered(), 3, 1, 0, Workers()), 8))
    resumed = list(islice(prompts_by_step(Numbered(), 3, 1, 3, Workers()), 5))
    assert resumed == whole[3:]
    other = list(islice(prompts_by_step(Numbered(), 3, 1, 0, Workers(1, 2)), 8))
    assert not any(ours == theirs for ours, theirs in zip(whole, other, strict=True))
    for of_group in (whole[:4], whole[4:]):  # sorted by length, then shared out
        lengths = sorted((min(map(len, part)), max(map(len, part))) for part, _ in of_group)
        assert all(a[1] <= b[0] for a, b in zip(lengths, lengths[1:], strict=False))


def write_inputs(folder: Path) -> list[str]:
    from safetensors.torch import load_file

    shipped = TRAINING.parent / "models" / "pipo-code-9m"
    size = {k: v for k, v in SHAPE.items() if k not in ("vocab_size", "real_vocab_size", "pad_token_id")}
    rows = load_file(shipped / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    (folder / "size.json").write_text(json.dumps({**size, "vocab_size": rows, "tie_word_embeddings": True}))
    text = "\n".join(f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(60))
    row = {"path": "a/b.py", "language": "python", "package": "p", "text": text}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    tokenizer = opd.Tokenizer.from_file(str(shipped / "tokenizer.json"))
    teacher = opd.new_model(folder / "size.json", tokenizer)
    torch.save({"model": teacher.state_dict()}, folder / "teacher.pt")
    teacher.add_pair_modules("mlp")
    torch.save({"model": teacher.state_dict()}, folder / "student.pt")
    return [
        *("--config", folder / "size.json", "--student", folder / "student.pt", "--teacher", folder / "teacher.pt"),
        *("--data", folder, "--tokenizer", shipped, "--out", folder / "out", "--threads", 1, "--rows", 2),
        *("--max-tokens", 6, "--length", 64, "--device", "cpu"),
    ]


def test_a_run_writes_a_checkpoint_that_it_resumes_from(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipo.opd", *map(str, write_inputs(tmp_path)), "--minutes"]
    subprocess.run([*command, "0.04"], cwd=TRAINING, check=True, capture_output=True)
    first = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert first["step"] > 0
    before = torch.load(tmp_path / "student.pt", weights_only=True)["model"]
    assert first["model"].keys() == before.keys()
    assert any(not torch.equal(first["model"][name], before[name]) for name in before)
    done = subprocess.run([*command, "0.08"], cwd=TRAINING, check=True, capture_output=True, text=True)
    assert f"resumed at step {first['step']}" in done.stdout
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] > first["step"]
