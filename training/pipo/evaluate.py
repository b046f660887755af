"""Measures a pair model on packages it was never trained on and writes `evaluation.json` and `evaluation.md`.

Teacher-forced: perplexity of both tokens, acceptance and precision of the gate at several thresholds beside a
random gate of the same acceptance rate, calibration. Decoded greedily: exact match and edit similarity of the
rest of a line, tokens per step. Matrix products run in bf16.

    python -m pipo.evaluate --model ../models/pipo-code-9m --data cache/data --out cache/evaluation
"""

from __future__ import annotations

import argparse
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from pipo.batches import FilePicker, TextFile, pair_source, read_split
from pipo.checkpoint import load_model
from pipo.config import pad_token_id, real_vocab_size
from pipo.decoding import gate_accepts, pad_to_even
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fim import Cut, Sampler, cut_start, line_end
from pipo.modeling import PipoModel

THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
DECODE_THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
MAX_LINE_TOKENS = 24
LINE_PROMPT_TOKENS = 320
DECODE_ROWS = 32
WANTED_PRECISION = 0.75
BINS = 10


@dataclass(frozen=True)
class TeacherForced:
    """One entry per supervised token: nll [n]; for second tokens also confidence, draft right, p of the label."""

    first_nll: Tensor
    second_nll: Tensor
    confidence: Tensor
    right: Tensor


@dataclass(frozen=True)
class LineTask:
    """Complete the rest of a line: the prompt's ids and the text that really stands there."""

    prompt: list[int]
    expected: str
    language: str
    shown: str  # the typed part of the line


@torch.no_grad()
def teacher_forced(model: PipoModel, files: list[TextFile], sampler: Sampler, rows: int, length: int) -> TeacherForced:
    source = pair_source(files, sampler, 4, length, fim_share=0.5, max_ratio=0.0, seed=77)
    known = real_vocab_size(model.config)
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for step in range(rows // 4):
        batch = source.batch(step)
        out = model.pair_forward(batch.ids)
        first_valid, second_valid = batch.weights[:, 2::2] > 0, batch.weights[:, 3::2] > 0
        first_logits = out.first_logits[:, :-1][first_valid][:, :known].float()
        second_logits = out.second_logits[second_valid][:, :known].float()
        first_ids, second_ids = batch.ids[:, 2::2][first_valid], batch.ids[:, 3::2][second_valid]
        parts.append(
            (
                F.cross_entropy(first_logits, first_ids, reduction="none"),
                F.cross_entropy(second_logits, second_ids, reduction="none"),
                torch.sigmoid(out.confidence_logits[second_valid].float()),
                second_logits.argmax(-1) == second_ids,
            )
        )
    return TeacherForced(*(torch.cat(column) for column in zip(*parts, strict=True)))


def gate_table(measured: TeacherForced) -> list[dict[str, float | None]]:
    """Per threshold: share accepted, share of accepted drafts that are right, and the same for a random gate.

    A random gate that accepts the same share is right as often as drafts are on the whole.
    """
    base = measured.right.float().mean().item()
    rows = []
    for threshold in THRESHOLDS:
        accepted = measured.confidence >= threshold
        right = measured.right[accepted].float()
        rows.append(
            {
                "threshold": threshold,
                "acceptanceRate": accepted.float().mean().item(),
                "precision": right.mean().item() if len(right) else None,
                "randomPrecision": base,
                "rightDraftsAccepted": right.sum().item() / max(measured.right.sum().item(), 1),
            }
        )
    return rows


def calibration(measured: TeacherForced) -> tuple[list[dict[str, float]], float]:
    """Confidence against the probability it was trained to predict, p2 of the true token; and the expected error."""
    probability = torch.exp(-measured.second_nll)
    bins = (measured.confidence * BINS).long().clamp(max=BINS - 1)
    rows, error = [], 0.0
    for index in range(BINS):
        inside = bins == index
        if not inside.any():
            continue
        confidence, found = measured.confidence[inside].mean().item(), probability[inside].mean().item()
        share = inside.float().mean().item()
        error += share * abs(confidence - found)
        rows.append(
            {
                "from": index / BINS,
                "share": share,
                "confidence": confidence,
                "labelProbability": found,
                "draftRight": measured.right[inside].float().mean().item(),
            }
        )
    return rows, error


def line_tasks(files: list[TextFile], sampler: Sampler, count: int, seed: int) -> list[LineTask]:
    """Cursors inside or at the start of a line's text, with at least three characters left on the line."""
    source, picker, tasks = random.Random(seed), FilePicker(files), []
    while len(tasks) < count:
        file = picker.pick(source)
        start = cut_start(file.text, source)
        cut = Cut(start, line_end(file.text, start))
        expected = file.text[cut.start : cut.end]
        if not 3 <= len(expected.strip()) <= 80:
            continue
        prompt = sampler.prompt(
            file.name,
            file.text[: cut.start],
            file.text[cut.end :],
            LINE_PROMPT_TOKENS,
            sampler.max_suffix_tokens,
        )
        shown = file.text[file.text.rfind("\n", 0, start) + 1 : start]
        tasks.append(LineTask(prompt, expected, file.language, shown))
    return sorted(tasks, key=lambda task: len(task.prompt))  # neighbours share a batch


@torch.no_grad()
def decode_batch(
    model: PipoModel, prompts: list[list[int]], threshold: float, stop: int, max_tokens: int
) -> tuple[list[list[int]], int, int]:
    """Greedy pair decoding of several prompts, whole sequences again at each step.

    Shorter rows are padded behind their end, which a causal model does not see. Returns the PAD-stripped
    tokens of each row, the number of steps and the number of accepted second tokens.
    """
    pad, known = pad_token_id(model.config), real_vocab_size(model.config)
    rows = [pad_to_even(prompt, pad) for prompt in prompts]
    outputs: list[list[int]] = [[] for _ in rows]
    active, steps, accepted = list(range(len(rows))), 0, 0

    def best(hidden: Tensor) -> list[int]:
        logits = model.logits(hidden)[:, :known]
        logits[:, pad] = float("-inf")
        return logits.argmax(-1).tolist()

    while active:
        length = max(len(rows[i]) for i in active) + 2
        ids = torch.tensor([rows[i] + [pad] * (length - len(rows[i])) for i in active])
        hidden = model.pair_hidden(ids)
        index = torch.arange(len(active))
        last = torch.tensor([len(rows[i]) // 2 - 1 for i in active])
        ids[index, 2 * last + 2] = torch.tensor(best(hidden[index, last]))
        drafts = model.draft_hidden(hidden[:, :-1], ids[:, 2::2])[index, last]
        confidences = torch.sigmoid(model.confidence_head(hidden[index, last], drafts).float()).tolist()
        seconds = best(drafts)
        remaining = []
        for place, i in enumerate(active):
            first = ids[place, 2 * last[place] + 2].item()
            steps += 1
            if first == stop:
                continue
            takes = gate_accepts(confidences[place], threshold)
            accepted += takes
            second = seconds[place] if takes else pad
            rows[i] += [first, second]
            outputs[i] += [first] + [second] * (takes and second != stop)
            if second != stop and len(outputs[i]) < max_tokens:
                remaining.append(i)
        active = remaining
    return outputs, steps, accepted


def edit_similarity(found: str, expected: str) -> float:
    """1 − Levenshtein distance / length of the longer string."""
    previous = list(range(len(expected) + 1))
    for i, a in enumerate(found, 1):
        current = [i]
        for j, b in enumerate(expected, 1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (a != b)))
        previous = current
    return 1 - previous[-1] / max(len(found), len(expected), 1)


def decode_lines(
    model: PipoModel, tokenizer: Tokenizer, tasks: list[LineTask], threshold: float, stop: int
) -> tuple[dict[str, float], list[str]]:
    """Scores of one threshold and the completed first lines, in the order of the tasks."""
    lines, steps, accepted, tokens = [], 0, 0, 0
    for start in range(0, len(tasks), DECODE_ROWS):
        part = tasks[start : start + DECODE_ROWS]
        outputs, more_steps, more_accepted = decode_batch(
            model, [t.prompt for t in part], threshold, stop, MAX_LINE_TOKENS
        )
        lines += [tokenizer.decode(ids).split("\n", 1)[0].rstrip() for ids in outputs]
        steps, accepted, tokens = steps + more_steps, accepted + more_accepted, tokens + sum(map(len, outputs))
    exact = [line == task.expected.rstrip() for line, task in zip(lines, tasks, strict=True)]
    similar = [edit_similarity(line, task.expected.rstrip()) for line, task in zip(lines, tasks, strict=True)]
    scores = {
        "threshold": threshold,
        "exactMatch": sum(exact) / len(tasks),
        "editSimilarity": sum(similar) / len(tasks),
        "acceptanceRate": accepted / max(steps, 1),
        "tokensPerStep": 1 + accepted / max(steps, 1),
    }
    return scores, lines


def choose_threshold(gate: list[dict[str, float | None]]) -> float:
    """The smallest threshold at which enough of the accepted drafts are right, or the largest one measured."""
    good = [row["threshold"] for row in gate if (row["precision"] or 0.0) >= WANTED_PRECISION]
    return min(good, default=max(THRESHOLDS))


def markdown(report: dict) -> str:
    """The report as three tables."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    gate = [
        "| threshold | accepted | right among accepted | random gate | right drafts kept |",
        "|---|---|---|---|---|",
    ]
    gate += [
        f"| {r['threshold']:.1f} | {r['acceptanceRate']:.3f} | {number(r['precision'])} | {r['randomPrecision']:.3f} "
        f"| {r['rightDraftsAccepted']:.3f} |"
        for r in report["gate"]
    ]
    lines = ["| threshold | exact match | edit similarity | accepted | tokens per step |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['threshold']:.1f} | {r['exactMatch']:.3f} | {r['editSimilarity']:.3f} | {r['acceptanceRate']:.3f} "
        f"| {r['tokensPerStep']:.2f} |"
        for r in report["lines"]
    ]
    perplexity = ["| files | first token | second token | drafts right |", "|---|---|---|---|"]
    perplexity += [
        f"| {r['language']} | {r['firstPerplexity']:.1f} | {r['secondPerplexity']:.1f} | {r['draftRight']:.3f} |"
        for r in report["perplexity"]
    ]
    error = f"Expected calibration error of the confidence: {report['calibrationError']:.3f}."
    return "\n".join([*perplexity, "", *gate, "", error, "", *lines, ""])


def evaluate(model: PipoModel, tokenizer: Tokenizer, files: list[TextFile], rows: int, tasks: int, length: int) -> dict:
    sampler = Sampler(tokenizer, length * 4 // 5)
    stop = sampler.special.end
    report: dict = {"perplexity": []}
    by_language = []
    for language in sorted({f.language for f in files}):
        measured = teacher_forced(model, [f for f in files if f.language == language], sampler, rows, length)
        by_language.append(measured)
        report["perplexity"].append(
            {
                "language": language,
                "firstPerplexity": math.exp(measured.first_nll.mean()),
                "secondPerplexity": math.exp(measured.second_nll.mean()),
                "draftRight": measured.right.float().mean().item(),
            }
        )
        print(report["perplexity"][-1], flush=True)
    fields = ("first_nll", "second_nll", "confidence", "right")
    everything = TeacherForced(*(torch.cat([getattr(m, f) for m in by_language]) for f in fields))
    report["supervisedPairs"] = len(everything.right)
    report["gate"] = gate_table(everything)
    report["calibration"], report["calibrationError"] = calibration(everything)
    drawn = line_tasks(files, sampler, tasks, seed=5)
    report["lineTasks"], report["lines"] = len(drawn), []
    for threshold in DECODE_THRESHOLDS:
        scores, completed = decode_lines(model, tokenizer, drawn, threshold, stop)
        report["lines"].append(scores)
        print(scores, flush=True)
        if threshold == 0.5:
            report["examples"] = [
                {"language": t.language, "typed": t.shown, "suggested": c, "expected": t.expected}
                for t, c in list(zip(drawn, completed, strict=True))[:: max(1, len(drawn) // 24)]
            ]
    report["chosenThreshold"] = choose_threshold(report["gate"])
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="exported model directory")
    parser.add_argument("--data", type=Path, required=True, help="folder written by pipo.data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=32, help="teacher-forced rows per language")
    parser.add_argument("--tasks", type=int, default=256, help="lines to complete")
    parser.add_argument("--length", type=int, default=768)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    files = read_split(arguments.data / "held-out.jsonl")
    with fast_gated_deltanet(), torch.autocast("cpu", torch.bfloat16):
        report = evaluate(
            load_model(arguments.model), tokenizer, files, arguments.rows, arguments.tasks, arguments.length
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (arguments.out / "evaluation.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
    for example in report["examples"]:
        print(f"{example['typed']}⟦{example['suggested']}⟧   wanted: {example['expected']}")


if __name__ == "__main__":
    main()
