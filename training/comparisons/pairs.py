"""What the comparisons of pair fine-tuning share: runs from the common base, measures on held-out rows.

Measures are means per row of tokens: rows hardly depend on each other, neighbouring tokens do.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from comparisons.common import (
    PROXY,
    load_proxy,
    load_tokenizer,
    paired,
    plain_base,
    run_steps,
    save,
    signed,
    write_results,
)
from pipo.batches import Batch, BatchSource, Mixture, pair_source, read_split
from pipo.config import pad_token_id
from pipo.distillation import compact, second_rows
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fim import Sampler
from pipo.losses import IGNORED
from pipo.modeling import PipoModel
from pipo.pair_losses import forward_pairs, pair_losses
from pipo.sft import add_pair_modules
from pipo.starting import new_model

MAX_PAD_RATIO = 0.5
MEASURE_SEED = 77
MEASURES = ("first", "second", "right", "acceptance")
HEADINGS = ("first token, nats", "second token, nats", "drafts right", "1 − TV")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: how the pair modules are made and what the draft head learns from."""

    name: str
    compressor: str = "mlp"
    draft_loss: str = "ce"


def row_source(
    arguments: argparse.Namespace, tokenizer: Tokenizer, split: str, mixture: Mixture, max_pad_ratio: float, seed: int
) -> BatchSource:
    files, sampler = read_split(arguments.data / split), Sampler(tokenizer, arguments.length * 4 // 5)
    return pair_source(files, sampler, arguments.rows, arguments.length, mixture, max_pad_ratio, seed)


def trained_pair(
    side: Side, arguments: argparse.Namespace, tokenizer: Tokenizer, mixture: Mixture, seed: int
) -> tuple[PipoModel, dict[str, float]]:
    """A pair proxy after its run and the run's facts; reused where the cache folder has it.

    The seed decides the data and the values that pair modules start from. A teacher is the plain base.
    """
    base = plain_base(arguments)
    name = f"pair-{side.compressor}-{side.draft_loss}-{mixture.fim:g}"
    path = arguments.cache / f"{name}-{arguments.base_steps}-{arguments.steps}-{seed}.pt"
    if not path.exists():
        torch.manual_seed(seed)
        model = load_proxy(base, tokenizer)
        add_pair_modules(model, side.compressor)
        teacher = None if side.draft_loss == "ce" else load_proxy(base, tokenizer).requires_grad_(False)
        source = row_source(arguments, tokenizer, "train.jsonl", mixture, MAX_PAD_RATIO, seed)
        losses_of = lambda batch: pair_losses(model, batch, side.draft_loss, teacher)  # noqa: E731
        save(path, model, run_steps(model, source, losses_of, arguments.steps, decay_from=0.4))
    saved = torch.load(path, weights_only=True)
    model = new_model(PROXY, tokenizer)
    model.add_pair_modules(side.compressor)
    model.load_state_dict(saved["model"])
    return model, saved["facts"]


@torch.no_grad()
def batch_measures(model: PipoModel, teacher: PipoModel, batch: Batch) -> Tensor:
    """Means per row [B, 4] in the order of MEASURES; acceptance is 1 − TV between the draft and the plain teacher."""
    rows, pad = forward_pairs(model, batch), pad_token_id(model.config)
    first = F.cross_entropy(model.logits(rows.hidden).float().flatten(0, 1), rows.first_ids.flatten(), reduction="none")
    draft = model.logits(rows.draft).float()
    second = F.cross_entropy(draft.flatten(0, 1), rows.second_ids.flatten(), reduction="none")
    compacted, idx = compact(batch.ids, pad)
    picked = second_rows(batch.ids.masked_fill(batch.weights == 0, IGNORED), idx, pad, fill_pad_label=False)
    taught = teacher.logits(teacher.plain_hidden(compacted)[picked.sequence, picked.teacher]).float().softmax(-1)
    overlap = torch.zeros_like(rows.second_weights)
    drafted = draft[picked.sequence, picked.student].softmax(-1)
    overlap[picked.sequence, picked.student] = torch.minimum(drafted, taught).sum(-1)

    def per_row(values: Tensor, weights: Tensor) -> Tensor:
        valid = (weights > 0).float()
        return (values.view_as(valid) * valid).sum(1) / valid.sum(1)

    right = (draft.argmax(-1) == rows.second_ids).float()
    seconds = [per_row(values, rows.second_weights) for values in (second, right, overlap)]
    return torch.stack([per_row(first, rows.first_weights), *seconds], dim=1)


def measure_pairs(
    model: PipoModel, arguments: argparse.Namespace, tokenizer: Tokenizer, mixture: Mixture
) -> dict[str, Tensor]:
    """Each measure per held-out row [n], without PADs in the rows; the rows are the same for every model."""
    teacher = load_proxy(plain_base(arguments), tokenizer)
    source = row_source(arguments, tokenizer, "held-out.jsonl", mixture, 0.0, MEASURE_SEED)
    with fast_gated_deltanet(), torch.autocast("cpu", torch.bfloat16):
        batches = [batch_measures(model, teacher, source[step]) for step in range(arguments.measured_steps)]
    return dict(zip(MEASURES, torch.cat(batches).double().unbind(1), strict=True))


def compare(name: str, sides: list[Side], arguments: argparse.Namespace, mixture: Mixture) -> None:
    """Writes and prints results after each side; differences are to the first one, over rows averaged over seeds."""
    tokenizer = load_tokenizer(arguments)
    settings = ("base_steps", "steps", "rows", "length", "seeds", "measured_steps")
    results: dict = {"model": PROXY.stem, **{setting: getattr(arguments, setting) for setting in settings}, "sides": {}}
    reference: dict[str, Tensor] = {}
    for side in sides:
        runs = [trained_pair(side, arguments, tokenizer, mixture, 201 + seed) for seed in range(arguments.seeds)]
        found = [measure_pairs(model, arguments, tokenizer, mixture) for model, _ in runs]
        means = {measure: torch.stack([one[measure] for one in found]).mean(0) for measure in MEASURES}
        reference = reference or means
        results["sides"][side.name] = {
            measure: {
                "mean": means[measure].mean().item(),
                "bySeed": [one[measure].mean().item() for one in found],
                **paired(means[measure], reference[measure]),
            }
            for measure in MEASURES
        } | {"runs": [facts for _, facts in runs]}
        write_results(name, results)
        print(table(results), flush=True)


def table(results: dict) -> str:
    rows = [f"| | {' | difference | '.join(HEADINGS)} | difference |", "|---" * (2 * len(HEADINGS) + 1) + "|"]
    for name, found in results["sides"].items():
        cells = [f"{found[measure]['mean']:.4f} | {signed(found[measure])}" for measure in MEASURES]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)
