"""PIPO fine-tuning of a pretrained backbone: every parameter trains, teacher-forced, three losses.

    python -m pipo.sft --config configs/pipo-code-9m.json --start cache/pretrain/checkpoint.pt --data cache/data \\
        --tokenizer cache/tokenizer --out cache/sft --minutes 60
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from pipo.batches import Batch, pair_source, read_split
from pipo.export import export_model
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fast_loss import weighted_nll
from pipo.fim import Sampler
from pipo.modeling import PipoModel
from pipo.pretrain import compile_layers, new_model
from pipo.trainer import Optimizers, Run, add_run_arguments, budget_seconds


def _shifted(values: Tensor, first: int) -> Tensor:
    """values [B, 2L] → [B, L]: row j holds `values[2j + first]`, 0 beyond the end."""
    taken = values[:, first::2]
    return F.pad(taken, (0, values.shape[1] // 2 - taken.shape[1]))


def pair_losses(model: PipoModel, batch: Batch) -> dict[str, Tensor]:
    """The three losses of `pipo.losses`, with a weight per token, at fixed shapes and in bf16 matrix products."""
    first_ids, second_ids = _shifted(batch.ids, 2), _shifted(batch.ids, 3)
    first_weights, second_weights = _shifted(batch.weights, 2), _shifted(batch.weights, 3)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.pair_hidden(batch.ids)
        draft = model.draft_hidden(hidden, first_ids)
        scores = model.confidence_head(hidden.detach(), draft.detach()).float()
    matrix = model.model.embed_tokens.weight
    nlls = []
    for rows, ids, weights in ((hidden, first_ids, first_weights), (draft, second_ids, second_weights)):
        share = (weights / weights.sum()).flatten()
        nlls.append(weighted_nll(rows.flatten(0, 1), matrix, ids.flatten(), share))
    (first, _), (second, second_nll) = nlls
    valid = (second_weights > 0).float()
    target = torch.exp(-second_nll).view_as(scores)
    errors = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    confidence = (errors * valid).sum() / valid.sum()
    return {"loss": first + second + confidence, "first": first, "second": second, "confidence": confidence}


def start_from_backbone(model: PipoModel, state: dict[str, Tensor]) -> None:
    """Loads the pretrained backbone, adds the pair modules and starts the draft block from the last layer."""
    model.load_state_dict(state)
    model.add_pair_modules("mlp")
    model.mtp.layers[0].load_state_dict(model.model.layers[-1].state_dict())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument("--config", type=Path, required=True, help="size file, see configs/")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint.pt of pretraining")
    parser.add_argument("--length", type=int, default=768, help="tokens per row, PADs included")
    parser.add_argument("--fim", type=float, default=0.75, help="share of fill-in-the-middle samples")
    parser.add_argument("--max-pad-ratio", type=float, default=0.5)
    parser.add_argument("--decay-from", type=float, default=0.5, help="share of the time after which the rate falls")
    parser.add_argument("--snapshots", type=Path, help="folder that always holds the newest exported model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    model = new_model(arguments.config, tokenizer)
    start_from_backbone(model, torch.load(arguments.start, weights_only=True)["model"])
    run = Run(arguments.out, model, Optimizers(model, arguments.lr))
    source = pair_source(
        read_split(arguments.data / "train.jsonl"),
        Sampler(tokenizer, arguments.length * 4 // 5),
        arguments.rows,
        arguments.length,
        arguments.fim,
        arguments.max_pad_ratio,
        arguments.seed + 1000,
    )

    def export_snapshot() -> None:
        if arguments.snapshots:
            export_model(model, arguments.tokenizer, arguments.snapshots, arguments.snapshots.name, threshold=0.5)

    compile_layers(model)
    with fast_gated_deltanet():
        run.train(
            source.prefetched(run.step),
            lambda batch: pair_losses(model, batch),
            budget_seconds(arguments, run.seconds),
            arguments.decay_from,
            export_snapshot,
        )


if __name__ == "__main__":
    main()
