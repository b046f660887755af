"""Pretrains the backbone by plain next-token prediction on plain and fill-in-the-middle samples.

    python -m pipo.pretrain --config configs/pipo-code-9m.json --data cache/data --tokenizer cache/tokenizer \\
        --out cache/pretrain --minutes 30
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pipo.batches import Batch, Mixture, plain_source, read_split
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fast_loss import weighted_nll
from pipo.fim import Sampler
from pipo.modeling import PipoModel
from pipo.starting import load_backbone, new_model
from pipo.trainer import (
    Optimizers,
    Run,
    Workers,
    add_run_arguments,
    budget_seconds,
    narrow_products,
    pick_device,
)


def compile_layers(model: PipoModel) -> None:
    """Compiles layer by layer: equal layers share one compilation."""
    for layer in [*model.model.layers, *(model.mtp.layers if model.has_draft_head else [])]:
        layer.compile(dynamic=False)


def plain_losses(model: PipoModel, batch: Batch) -> dict[str, Tensor]:
    with narrow_products(batch.ids.device):
        hidden = model.plain_hidden(batch.ids)
    weights = torch.zeros_like(batch.weights)
    weights[:, :-1] = batch.weights[:, 1:] / batch.weights[:, 1:].sum()
    targets = batch.ids.roll(-1, dims=1)
    loss, _ = weighted_nll(hidden.flatten(0, 1), model.model.embed_tokens.weight, targets.flatten(), weights.flatten())
    return {"loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument("--config", type=Path, required=True, help="size file, see configs/")
    parser.add_argument("--backbone", type=Path, help="checkpoint.pt whose backbone this run goes on from")
    parser.add_argument("--length", type=int, default=512, help="tokens per row")
    parser.add_argument("--fim", type=float, default=0.6, help="share of fill-in-the-middle samples")
    parser.add_argument("--tasks", type=float, default=0.3, help="share of generated questions in chat format")
    parser.add_argument("--decay-from", type=float, default=1.0, help="share of the time after which the rate falls")
    arguments = parser.parse_args()
    workers = Workers.join()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    model = new_model(arguments.config, tokenizer)
    if arguments.backbone:
        load_backbone(model, arguments.backbone)
    model.to(pick_device(arguments.device))
    run = Run(arguments.out, model, Optimizers(model, arguments.lr), workers)
    source = plain_source(
        read_split(arguments.data / "train.jsonl"),
        Sampler(tokenizer, arguments.length),
        arguments.rows,
        Mixture(arguments.fim, arguments.tasks),
        arguments.seed,
    )
    compile_layers(model)
    with fast_gated_deltanet():
        run.train(
            source.prefetched(run.step, workers.rank, workers.count, arguments.loaders),
            lambda batch: plain_losses(model, batch),
            budget_seconds(arguments, run.seconds),
            arguments.decay_from,
        )


if __name__ == "__main__":
    main()
