"""PIPO fine-tuning: teacher-forced pairs, three losses, PADs at random places of the answers.

From a pretrained small model, every parameter trains on source files and generated tasks:

    python -m pipo.sft --config configs/pipo-code-9m.json --backbone cache/pretrain/checkpoint.pt --data cache/data \\
        --tokenizer cache/tokenizer --out cache/sft --minutes 60

From a checkpoint directory of a released model, on conversations, with LoRA (`--lora 0` trains everything):

    python -m pipo.sft --model Qwen3.5-4B --data conversations.jsonl --out runs/sft --minutes 600 \\
        --rows 16 --lora 64 --gradient-checkpointing
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer

from pipo.batches import BatchSource, Mixture, pair_source, read_split
from pipo.checkpoint import load_model
from pipo.config import pad_token_id
from pipo.conversations import ConversationSource, conversation_sample, read_conversations
from pipo.export import export_model
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fim import Sampler
from pipo.modeling import COMPRESSOR_TYPES, PipoModel
from pipo.pair_losses import DRAFT_LOSSES, pair_losses
from pipo.pretrain import compile_layers
from pipo.starting import load_backbone, new_model, read_model, save_activations_memory, with_adapter
from pipo.trainer import (
    Optimizers,
    Run,
    Workers,
    add_run_arguments,
    budget_seconds,
    pick_device,
)


def add_pair_modules(model: PipoModel, compressor_type: str) -> None:
    """Adds what a plain model lacks; a new draft block starts as a copy of the last layer."""
    had_draft_head = model.has_draft_head
    model.add_pair_modules(compressor_type)
    if not had_draft_head:
        model.mtp.layers[0].load_state_dict(model.model.layers[-1].state_dict())


def small_model(arguments: argparse.Namespace, tokenizer: Tokenizer) -> PipoModel:
    model = new_model(arguments.config, tokenizer)
    load_backbone(model, arguments.backbone)
    add_pair_modules(model, arguments.compressor)
    return model


def released_model(directory: Path, compressor_type: str, lora: int) -> tuple[PipoModel, bool]:
    """The model of a directory with its pair modules, and whether its draft head is new.

    Frozen weights stay in bf16 where only an adapter trains.
    """
    model = load_model(directory, torch.bfloat16 if lora else torch.float32)
    had_draft_head = model.has_draft_head
    if not model.is_pair_model:
        add_pair_modules(model, compressor_type)
    return model.train(), not had_draft_head


def training_source(arguments: argparse.Namespace, tokenizer: Tokenizer, pad: int) -> BatchSource | ConversationSource:
    """Rows of conversations from a `.jsonl` file, or of source files from a folder of `pipo.data`."""
    if arguments.data.suffix == ".jsonl":
        samples = [conversation_sample(tokenizer, m, arguments.length) for m in read_conversations(arguments.data)]
        return ConversationSource(samples, pad, arguments.max_pad_ratio, arguments.seed)
    return pair_source(
        read_split(arguments.data / "train.jsonl"),
        Sampler(tokenizer, arguments.length * 4 // 5),
        arguments.rows,
        arguments.length,
        Mixture(arguments.fim, arguments.tasks),
        arguments.max_pad_ratio,
        arguments.seed + 1000,
    )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--backbone", type=Path, help="checkpoint.pt of pretraining; needs --config and --tokenizer")
    start.add_argument("--model", type=Path, help="checkpoint directory: plain, or merged PIPO")
    parser.add_argument("--config", type=Path, help="size file, see configs/")
    parser.add_argument("--compressor", choices=COMPRESSOR_TYPES, default="mlp")
    parser.add_argument("--pre-gate", action="store_true", help="train a linear gate that decides before the draft")
    parser.add_argument("--draft-loss", choices=DRAFT_LOSSES, default="ce", help="kl and tv need --teacher")
    parser.add_argument("--teacher", type=Path, help="plain teacher: checkpoint.pt or directory")
    parser.add_argument("--lora", type=int, default=0, help="rank of the adapter; 0 trains every parameter")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    parser.add_argument("--length", type=int, default=768, help="most tokens per row, PADs included")
    parser.add_argument("--fim", type=float, default=0.75, help="share of fill-in-the-middle samples")
    parser.add_argument("--tasks", type=float, default=0.3, help="share of generated questions in chat format")
    parser.add_argument("--max-pad-ratio", type=float, default=0.5)
    parser.add_argument("--decay-from", type=float, default=0.5, help="share of the time after which the rate falls")
    parser.add_argument("--snapshots", type=Path, help="folder that always holds the newest exported model")
    arguments = parser.parse_args()
    if arguments.backbone and not arguments.config:
        parser.error("--backbone needs --config")
    if arguments.backbone and not arguments.tokenizer:
        parser.error("--backbone needs --tokenizer")
    if (arguments.draft_loss == "ce") != (arguments.teacher is None):
        parser.error("--teacher goes with --draft-loss kl or tv")
    arguments.tokenizer = arguments.tokenizer or arguments.model
    return arguments


def main() -> None:
    arguments = read_arguments()
    workers = Workers.join()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    if arguments.model:
        model, new_draft_head = released_model(arguments.model, arguments.compressor, arguments.lora)
    else:
        model, new_draft_head = small_model(arguments, tokenizer), True
    if arguments.pre_gate and not model.has_pre_gate:
        model.add_pre_gate()
    if arguments.gradient_checkpointing:
        save_activations_memory(model)
    model, trained = with_adapter(model, arguments.lora, dropout=0.05, new_draft_head=new_draft_head)
    device = pick_device(arguments.device)
    trained.to(device)
    teacher = None
    if arguments.teacher:
        narrow = torch.bfloat16 if arguments.model else torch.float32
        teacher = read_model(arguments.teacher, arguments.config, tokenizer, narrow)
        teacher.eval().requires_grad_(False).to(device)
    run = Run(arguments.out, trained, Optimizers(trained, arguments.lr, arguments.optimizer), workers)
    source = training_source(arguments, tokenizer, pad_token_id(model.config))
    conversations = isinstance(source, ConversationSource)

    def export_snapshot() -> None:
        if arguments.lora:
            trained.save_pretrained(arguments.out / "adapter")
        elif arguments.snapshots:
            export_model(model, arguments.tokenizer, arguments.snapshots, arguments.snapshots.name, threshold=0.5)

    if not conversations:  # whose rows all have lengths of their own
        compile_layers(model)
    with fast_gated_deltanet():
        run.train(
            source.prefetched(run.step, workers.rank, workers.count, arguments.loaders),
            lambda batch: pair_losses(model, batch, arguments.draft_loss, teacher),
            budget_seconds(arguments, run.seconds),
            arguments.decay_from,
            export_snapshot,
            accumulate=arguments.rows if conversations else 1,
        )


if __name__ == "__main__":
    main()
