"""Compares prompt layouts: one base trained on plain text, then an equally long run per layout from it.

    python -m comparisons.layouts --data cache/data --tokenizer cache/tokenizer --cache cache/comparisons

Held-out cursors are the same for all layouts, and so are the tokens to be predicted: the rest of the line, and whole
middles with the stop token. A line is right where the best token is the true one at every place and where the line
then ends; that is greedy decoding, except that another split of the same text into tokens counts as wrong.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from comparisons.common import (
    PROXY,
    arguments_of,
    held_out,
    load_proxy,
    load_tokenizer,
    paired,
    plain_base,
    run_steps,
    save,
    signed,
    write_results,
)
from pipo.batches import FilePicker, Mixture, TextFile, plain_source, read_split
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fim import LAYOUTS, Cut, Sampler, choose_cut, line_end
from pipo.modeling import PipoModel
from pipo.pretrain import plain_losses

PROMPT_TOKENS, SUFFIX_TOKENS = 224, 96
FIM_SHARE = 0.75
BATCH = 16


@dataclass(frozen=True)
class Case:
    """A cursor in a held-out file: the rest of its line, and a middle drawn as in training."""

    file: TextFile
    cut: Cut

    @property
    def line(self) -> str:
        return self.file.text[self.cut.start : line_end(self.file.text, self.cut.start)]

    @property
    def middle(self) -> str:
        return self.file.text[self.cut.start : self.cut.end]


def draw_cases(files: list[TextFile], count: int, seed: int = 5) -> list[Case]:
    """Cursors with 3 to 80 characters left on their line."""
    source, picker, cases = random.Random(seed), FilePicker(files), []
    while len(cases) < count:
        file = picker.pick(source)
        case = Case(file, choose_cut(file.text, source))
        if 3 <= len(case.line.strip()) <= 80 and case.middle:
            cases.append(case)
    return sorted(cases, key=lambda case: (len(case.file.text[: case.cut.start]) < 600, len(case.middle)))


def prompt_of(sampler: Sampler, case: Case, end: int) -> list[int]:
    """The prompt at a case's cursor; the suffix starts at `end`."""
    text = case.file.text
    return sampler.prompt(case.file.name, text[: case.cut.start], text[end:], PROMPT_TOKENS, SUFFIX_TOKENS)


@torch.no_grad()
def scores(model: PipoModel, prompts: list[list[int]], answers: list[list[int]]) -> tuple[list[Tensor], list[Tensor]]:
    """−log p of each answer's tokens [n], and the best token at each of their places and behind the last [n + 1]."""
    nlls, best = [], []
    for start in range(0, len(prompts), BATCH):
        rows = [p + a for p, a in zip(prompts[start : start + BATCH], answers[start : start + BATCH], strict=True)]
        ids = torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])
        hidden = model.plain_hidden(ids)
        for row, states, answer in zip(rows, hidden, answers[start : start + BATCH], strict=True):
            logits = model.logits(states[len(row) - len(answer) - 1 : len(row)]).float()
            nlls.append(F.cross_entropy(logits[:-1], torch.tensor(answer), reduction="none"))
            best.append(logits.argmax(-1))
    return nlls, best


def ends_line(tokenizer: Tokenizer, token: int, stop: int) -> bool:
    """Whether a token ends a line: the stop token, or white space with a line break."""
    text = tokenizer.decode([token])
    return token == stop or ("\n" in text and not text.split("\n")[0].strip())


@dataclass(frozen=True)
class Measured:
    """Per case: summed NLL and number of tokens of the line and of the middle; whether the line is right. All [n]."""

    line_nll: Tensor
    line_tokens: Tensor
    middle_nll: Tensor
    middle_tokens: Tensor
    line_right: Tensor


def measure(model: PipoModel, tokenizer: Tokenizer, cases: list[Case], layout: str) -> Measured:
    sampler = Sampler(tokenizer, PROMPT_TOKENS, layout=layout)
    stop = sampler.special.end
    lines = [sampler.encode(case.line) for case in cases]
    middles = [[*sampler.encode(case.middle), stop] for case in cases]
    with fast_gated_deltanet(), torch.autocast("cpu", torch.bfloat16):
        line_nlls, best = scores(model, [prompt_of(sampler, c, c.cut.start + len(c.line)) for c in cases], lines)
        middle_nlls, _ = scores(model, [prompt_of(sampler, c, c.cut.end) for c in cases], middles)
    right = [
        found[:-1].tolist() == line and ends_line(tokenizer, found[-1].item(), stop)
        for found, line in zip(best, lines, strict=True)
    ]
    columns = (
        [nll.sum() for nll in line_nlls], [len(a) for a in lines],
        [nll.sum() for nll in middle_nlls], [len(a) for a in middles], right,
    )  # fmt: skip
    return Measured(*(torch.tensor(column, dtype=torch.float64) for column in columns))


def compared(measured: Measured, reference: Measured) -> dict:
    """Means of one layout, and the paired differences to the reference, in nats per token and as shares."""
    per_line, per_middle = measured.line_tokens.mean(), measured.middle_tokens.mean()
    return {
        "lineNll": (measured.line_nll.mean() / per_line).item(),
        "lineNllDifference": paired(measured.line_nll / per_line, reference.line_nll / per_line),
        "middleNll": (measured.middle_nll.mean() / per_middle).item(),
        "middleNllDifference": paired(measured.middle_nll / per_middle, reference.middle_nll / per_middle),
        "lineRight": measured.line_right.mean().item(),
        "lineRightDifference": paired(measured.line_right, reference.line_right),
    }


def table(results: dict) -> str:
    measures = ("rest of line, nats/token", "middle, nats/token", "line right")
    rows = [f"| layout | {' | difference | '.join(measures)} | difference |", "|---" * 7 + "|"]
    for layout, found in results["layouts"].items():
        rows.append(
            f"| {layout} | {found['lineNll']:.4f} | {signed(found['lineNllDifference'])} | {found['middleNll']:.4f} "
            f"| {signed(found['middleNllDifference'])} | {found['lineRight']:.3f} "
            f"| {signed(found['lineRightDifference'])} |"
        )
    return "\n".join(rows)


def trained(arguments, tokenizer: Tokenizer, layout: str, seed: int) -> tuple[PipoModel, dict[str, float]]:
    """A proxy after its run with a layout, and the run's facts; reused where the cache folder has it."""
    path = arguments.cache / f"layout-{layout}-{arguments.base_steps}-{arguments.steps}-{seed}.pt"
    if not path.exists():
        model = load_proxy(plain_base(arguments), tokenizer)
        sampler = Sampler(tokenizer, arguments.length, layout=layout)
        files = read_split(arguments.data / "train.jsonl")
        source = plain_source(files, sampler, arguments.rows, Mixture(FIM_SHARE), seed)
        facts = run_steps(model, source, lambda batch: plain_losses(model, batch), arguments.steps, decay_from=0.4)
        save(path, model, facts)
    return load_proxy(path, tokenizer), torch.load(path, weights_only=True)["facts"]


def over_seeds(runs: list[Measured]) -> Measured:
    """Per case, the mean over the runs of one layout."""
    fields = Measured.__dataclass_fields__
    return Measured(*(torch.stack([getattr(run, name) for run in runs]).mean(0) for name in fields))


def main() -> None:
    arguments = arguments_of(__doc__, steps=300, cases=800, seeds=1)
    tokenizer = load_tokenizer(arguments)
    cases = draw_cases(held_out(arguments), arguments.cases)
    settings = ("cases", "base_steps", "steps", "rows", "length", "seeds")
    results: dict = {"model": PROXY.stem, **{name: getattr(arguments, name) for name in settings}, "layouts": {}}
    reference = None
    for layout in LAYOUTS:  # the first is what the others are compared with
        runs = [trained(arguments, tokenizer, layout, seed) for seed in range(101, 101 + arguments.seeds)]
        measured = over_seeds([measure(model, tokenizer, cases, layout) for model, _ in runs])
        reference = reference or measured
        results["layouts"][layout] = compared(measured, reference) | {"runs": [facts for _, facts in runs]}
        write_results("layouts", results)
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
