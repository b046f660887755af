"""Pretrains the backbone by plain next-token prediction on plain and fill-in-the-middle samples.

    python -m pipo.pretrain --config configs/pipo-code-9m.json --data cache/data --tokenizer cache/tokenizer \\
        --out cache/pretrain --minutes 30
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pipo.batches import Batch, plain_source, read_split
from pipo.config import make_config
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fast_loss import weighted_nll
from pipo.fim import Sampler
from pipo.modeling import PipoModel
from pipo.trainer import Optimizers, Run, add_run_arguments, budget_seconds


def new_model(config_path: Path, tokenizer: Tokenizer) -> PipoModel:
    """A freshly initialised plain model of a size file, with the tokenizer's ids in its config."""
    config = make_config(
        **json.loads(config_path.read_text("utf-8")),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        real_vocab_size=tokenizer.get_vocab_size(),
    )
    return PipoModel(config)


def compile_layers(model: PipoModel) -> None:
    """Compiles layer by layer: equal layers share one compilation."""
    for layer in [*model.model.layers, *(model.mtp.layers if model.has_draft_head else [])]:
        layer.compile(dynamic=False)


def plain_losses(model: PipoModel, batch: Batch) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
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
    parser.add_argument("--length", type=int, default=512, help="tokens per row")
    parser.add_argument("--fim", type=float, default=0.6, help="share of fill-in-the-middle samples")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    model = new_model(arguments.config, tokenizer)
    run = Run(arguments.out, model, Optimizers(model, arguments.lr))
    source = plain_source(
        read_split(arguments.data / "train.jsonl"),
        Sampler(tokenizer, arguments.length),
        arguments.rows,
        arguments.fim,
        arguments.seed,
    )
    compile_layers(model)
    with fast_gated_deltanet():
        run.train(
            source.prefetched(run.step),
            lambda batch: plain_losses(model, batch),
            budget_seconds(arguments, run.seconds),
            decay_from=1.0,
        )


if __name__ == "__main__":
    main()
