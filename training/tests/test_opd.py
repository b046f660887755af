"""On-policy distillation: one batch against an oracle, and runs that resume."""

import json
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_models import PAD, SHAPE, pair_model, plain_model, random_ids

from pipo import opd, pair_losses
from pipo.adapter import merge_adapter
from pipo.checkpoint import load_model, save_pipo, save_plain
from pipo.config import make_config
from pipo.generation import Sampling, generate_pairs
from pipo.modeling import PipoModel
from pipo.opd import Objective, Policy, as_rollouts, opd_losses, prompts_by_step, rollouts
from pipo.starting import new_model
from pipo.trainer import Workers

STOP = 7
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "pipo-code-9m"


@pytest.fixture
def wide(monkeypatch) -> None:
    """Products in fp32, so that an oracle can be close."""
    for module in (opd, pair_losses):
        monkeypatch.setattr(module, "narrow_products", lambda device: torch.autocast(device.type, enabled=False))


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


def moved_by(loss: torch.Tensor, student) -> set[str]:
    student.zero_grad()
    loss.backward(retain_graph=True)
    return {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None and p.grad.any()}


def test_a_gate_s_loss_moves_that_gate_alone(wide) -> None:
    student, teacher = pair_model(), plain_model().requires_grad_(False)
    student.add_pre_gate()
    losses = opd_losses(student, teacher, as_rollouts(prompts(), answers(student), PAD), Objective("topk", "tv"))
    assert moved_by(losses["confidence"], student) == {"confidence_head"}
    assert moved_by(losses["pre_gate"], student) == {"pre_gate"}
    assert moved_by(losses["first"], student) == {"model", "compressor"}
    assert moved_by(losses["draft"], student) == {"model", "compressor", "mtp"}
    everything = {"model", "compressor", "mtp", "confidence_head", "pre_gate"}
    assert moved_by(losses["loss"], student) == everything


def test_steps_on_fixed_prompts_bring_the_student_nearer_to_its_teacher(wide) -> None:
    student, teacher = pair_model(), plain_model().requires_grad_(False)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    policy = Policy(0.5, 12, (STOP,), Sampling(temperature=1.0))
    values = []
    for batch in rollouts(student, policy, ((prompts(), seed) for seed in range(24))):
        losses = opd_losses(student, teacher, batch, Objective())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        values.append((losses["first"] + losses["draft"]).item())
    assert sum(values[-4:]) < 0.8 * sum(values[:4])


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
    size = {k: v for k, v in SHAPE.items() if k not in ("vocab_size", "real_vocab_size", "pad_token_id")}
    rows = load_file(SHIPPED / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    (folder / "size.json").write_text(json.dumps({**size, "vocab_size": rows, "tie_word_embeddings": True}))
    text = "\n".join(f"def add_{i}(a, b):\n    return a + b + {i}\n" for i in range(60))
    row = {"path": "a/b.py", "language": "python", "package": "p", "text": text}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    tokenizer = opd.Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    teacher = new_model(folder / "size.json", tokenizer)
    torch.save({"model": teacher.state_dict()}, folder / "teacher.pt")
    teacher.add_pair_modules("mlp")
    torch.save({"model": teacher.state_dict()}, folder / "student.pt")
    return [
        *("--config", folder / "size.json", "--student", folder / "student.pt", "--teacher", folder / "teacher.pt"),
        *("--data", folder, "--tokenizer", SHIPPED, "--out", folder / "out", "--threads", 1, "--rows", 2),
        *("--max-tokens", 6, "--length", 64, "--device", "cpu"),
    ]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a merged pair model, a plain model with Qwen's names, and conversations."""
    folder, size = tmp_path_factory.mktemp("released"), {**SHAPE, "vocab_size": 8192, "real_vocab_size": 8171}
    config = make_config(**{**size, "pad_token_id": 8160}, tie_word_embeddings=True)
    save_plain(PipoModel(config), folder / "teacher")
    student = PipoModel(config, "mlp")
    save_pipo(student, folder / "student")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "student" / name).write_bytes((SHIPPED / name).read_bytes())
    messages = [{"role": "user", "content": "What is 3 + 4?"}, {"role": "assistant", "content": "7"}]
    (folder / "conversations.jsonl").write_text(json.dumps({"messages": messages}) + "\n", "utf-8")
    return folder


def test_an_adapter_of_a_released_model_is_distilled(released: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("peft")
    arguments = (
        "--student", released / "student", "--teacher", released / "teacher", "--data",
        released / "conversations.jsonl", "--out", tmp_path, "--minutes", 0.02, "--lora", 4, "--rows", 2,
        "--max-tokens", 6, "--optimizer", "adamw", "--kl", "topk", "--gradient-checkpointing", "--device", "cpu",
        "--threads", 1,
    )  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["opd", *map(str, arguments)])
    opd.main()
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] > 0 and not any("embed_tokens" in name for name in saved["model"])
    merged = merge_adapter(load_model(released / "student"), tmp_path / "adapter")
    before = load_model(released / "student").state_dict()
    changed = {name for name, value in merged.state_dict().items() if not torch.equal(value, before[name])}
    assert {"confidence_head.fc1.weight", "mtp.layers.0.mlp.up_proj.weight", "compressor.mlp.0.weight"} <= changed
    assert "model.layers.3.self_attn.q_proj.weight" in changed
    assert not any("linear_attn" in name or "embed_tokens" in name for name in changed)


def test_a_run_writes_a_checkpoint_that_it_resumes_from(tmp_path: Path, monkeypatch, capsys) -> None:
    arguments = [*map(str, write_inputs(tmp_path)), "--minutes"]
    monkeypatch.setattr(sys, "argv", ["opd", *arguments, "0.02"])
    opd.main()
    first = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert first["step"] > 0
    before = torch.load(tmp_path / "student.pt", weights_only=True)["model"]
    assert first["model"].keys() == before.keys()
    assert any(not torch.equal(first["model"][name], before[name]) for name in before)
    monkeypatch.setattr(sys, "argv", ["opd", *arguments, str(first["seconds"] / 60 + 0.01)])
    opd.main()
    assert f"resumed at step {first['step']}" in capsys.readouterr().out
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] > first["step"]
