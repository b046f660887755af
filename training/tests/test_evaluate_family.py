"""The whole evaluation on a tiny random family, and its scores against the model's own written-out meaning."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pipo.config import make_config
from pipo.evaluate import evaluate
from pipo.evaluation import answers, copying, cursors
from pipo.evaluation.family import Member, generate
from pipo.evaluation.plan import Family, Sizes
from pipo.evaluation.scoring import pair_scores, plain_nll, slots_of
from pipo.export import export_model
from pipo.fim import Sample
from pipo.modeling import PipoModel
from pipo.tokenizer import save, train

FOLDER = Path(__file__).parents[1] / "pipo"
SIZES = Sizes(lines=2, blocks=1, spans=1, names=1, texts=1, middles=1, questions=4, samples=2)


def random_model(tokenizer: Tokenizer, compressor: str | None, seed: int = 5) -> PipoModel:
    torch.manual_seed(seed)
    config = make_config(
        vocab_size=tokenizer.get_vocab_size() + 5, real_vocab_size=tokenizer.get_vocab_size(), hidden_size=32,
        intermediate_size=32, num_hidden_layers=2, layer_types=["linear_attention", "full_attention"],
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, linear_num_key_heads=1, linear_num_value_heads=2,
        linear_key_head_dim=16, linear_value_head_dim=16, tie_word_embeddings=True, initializer_range=0.3,
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"), rope_parameters={"mrope_section": [2, 1, 1]},
    )  # fmt: skip
    return PipoModel(config, compressor).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, held-out files in two languages, and models of each stage."""
    root = tmp_path_factory.mktemp("family")
    texts = {path.name: path.read_text("utf-8") for path in (FOLDER / "modeling.py", FOLDER / "batches.py")}
    tokenizer = train(iter(texts.values()))
    save(tokenizer, root / "tokenizer")
    rows = [
        {"package": "held-out", "path": name, "language": language, "text": text}
        for (name, text), language in zip(texts.items(), ("python", "typescript"), strict=True)
    ]
    (root / "held-out.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    for name, compressor in (("plain", None), ("sft", "mlp"), ("opd", "mlp"), ("linear", "linear")):
        model = random_model(tokenizer, compressor)
        if name == "opd":
            model.add_pre_gate()
            torch.nn.init.normal_(model.pre_gate.weight)
        export_model(model, root / "tokenizer", root / name, name, 0.5 if compressor else None)
    return root


def test_one_command_gives_tables_numbers_and_plots(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(answers, "MAX_TOKENS", 6)
    monkeypatch.setattr(copying, "MAX_TOKENS", 4)
    for kind in cursors.KINDS:
        monkeypatch.setitem(cursors.MAX_TOKENS, kind, 6)
    stages = {name: Member(name, folder / name) for name in ("plain", "sft", "opd")}
    family = Family(**stages, extra=(Member("linear", folder / "linear"),))
    report = evaluate(family, folder, tmp_path, SIZES, jobs=2)

    assert json.loads((tmp_path / "evaluation.json").read_text("utf-8")) == json.loads(json.dumps(report))
    written = (tmp_path / "evaluation.md").read_text("utf-8")
    for heading in ("Perplexity", "Completion", "Identifier copy", "Generated questions", "Gate of opd", "Draft head"):
        assert f"**{heading}" in written, heading
    assert "Deciding before the draft step" in written and "Default threshold" in written
    assert report["chosenThreshold"] in [row["threshold"] for row in report["gate"]]
    for row in report["completion"]:
        assert row["gate"] or row["tokensPerStep"] == 1.0
        if row["threshold"] == 0.0:
            assert row["acceptanceRate"] > 0.8  # only a final first token has no draft
        if row["threshold"] == 1.0:
            assert row["acceptanceRate"] == 0.0
    if pytest.importorskip("matplotlib"):
        plots = list(tmp_path.glob("*.png"))
        assert len(plots) == 3 and all(plot.stat().st_size < 60_000 for plot in plots)


def test_a_single_model_is_enough(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(answers, "MAX_TOKENS", 2)
    monkeypatch.setattr(copying, "MAX_TOKENS", 2)
    for kind in cursors.KINDS:
        monkeypatch.setitem(cursors.MAX_TOKENS, kind, 2)
    report = evaluate(Family(plain=Member("plain", folder / "plain")), folder, tmp_path, SIZES)
    assert report["chosenThreshold"] is None and {row["mode"] for row in report["perplexity"]} == {"plain"}
    report = evaluate(Family(sft=Member("sft", folder / "sft")), folder, tmp_path, SIZES, threshold=0.3)
    assert report["chosenThreshold"] == 0.3 and "set by hand" in report["thresholdReason"]


@torch.no_grad()
def test_scores_of_a_batch_are_those_of_each_sequence_alone(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    model, pad = random_model(tokenizer, "mlp"), tokenizer.token_to_id("<|endoftext|>")
    samples = [Sample([5, 6, 7, 8, 9, 10, 11], 3), Sample([9, 8, 7, 6, 5, 4, 3, 2, 1, 4, 5], 4)]
    sequences = [slots_of(sample, pad, "pairs") for sample in samples]
    for sees_prompt in (True, False):
        together = pair_scores(model, [s for s, _ in sequences], [start for _, start in sequences], sees_prompt)
        for row, (slots, start) in enumerate(sequences):
            alone = together.where(together.row == row)
            out = model.pair_forward(torch.tensor([slots]))
            first = start // 2 - 1
            hidden, draft = out.hidden[:, first:-1], out.draft_hidden[:, first:]
            if not sees_prompt:
                draft = model.draft_hidden(hidden, torch.tensor([slots[start::2]]))
            logits = model.logits(draft)[0, :, : tokenizer.get_vocab_size()]
            logits[:, pad] = float("-inf")
            torch.testing.assert_close(
                alone.confidence, torch.sigmoid(model.confidence_head(hidden, draft))[0], atol=1e-5, rtol=1e-4
            )
            assert alone.draft_right.tolist() == (logits.argmax(-1) == torch.tensor(slots[start + 1 :: 2])).tolist()
            expected = -logits.log_softmax(-1).gather(1, torch.tensor(slots[start + 1 :: 2])[:, None])[:, 0]
            is_pad = torch.tensor(slots[start + 1 :: 2]) == pad
            assert alone.second_nll.isnan().tolist() == is_pad.tolist()
            torch.testing.assert_close(alone.second_nll[~is_pad], expected[~is_pad], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_plain_scores_are_the_models_own(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    model = random_model(tokenizer, None)
    samples = [Sample([5, 6, 7, 8, 9, 10, 11], 3), Sample([9, 8, 7, 6], 2)]
    nll, rows = plain_nll(model, samples)
    for row, sample in enumerate(samples):
        logits = model(torch.tensor([sample.ids]))[0, :, : tokenizer.get_vocab_size()].log_softmax(-1)
        expected = [-logits[i - 1, sample.ids[i]].item() for i in range(sample.response_start, len(sample.ids))]
        assert sorted(nll[rows == row].tolist()) == pytest.approx(sorted(expected), abs=1e-4)


def test_a_random_gate_accepts_its_share_and_else_decodes_as_the_gate_does(folder: Path) -> None:
    member = Member("sft", folder / "sft")
    prompts = [[5, 6, 7, i] for i in range(20, 60)]
    made = generate(member, "cpu", prompts, 0.5, 40, (), random_gate=0.3)
    assert sum(g.accepted for g in made) / sum(g.steps for g in made) == pytest.approx(0.3, abs=0.05)
    always = generate(member, "cpu", prompts[:3], 0.5, 8, (), random_gate=1.0)
    assert [g.slots for g in always] == [g.slots for g in generate(member, "cpu", prompts[:3], 0.0, 8, ())]
