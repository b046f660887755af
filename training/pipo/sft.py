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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from pipo.adapter import wrap_with_adapter
from pipo.batches import Batch, BatchSource, Mixture, pair_source, read_split
from pipo.checkpoint import load_model
from pipo.config import pad_token_id
from pipo.conversations import ConversationSource, conversation_sample, read_conversations
from pipo.export import export_model
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fast_loss import weighted_nll
from pipo.fim import Sampler
from pipo.modeling import COMPRESSOR_TYPES, PipoModel
from pipo.pretrain import compile_layers, load_backbone, new_model
from pipo.trainer import (
    Optimizers,
    Run,
    Workers,
    add_run_arguments,
    budget_seconds,
    narrow_products,
    pick_device,
)


def _shifted(values: Tensor, first: int) -> Tensor:
    """values [B, 2L] → [B, L]: row j holds `values[2j + first]`, 0 beyond the end."""
    taken = values[:, first::2]
    return F.pad(taken, (0, values.shape[1] // 2 - taken.shape[1]))


@dataclass(frozen=True)
class Forward:
    """Teacher-forced hidden rows of a batch and what they should predict; all [B, L] or [B, L, H]."""

    hidden: Tensor
    draft: Tensor
    first_ids: Tensor
    second_ids: Tensor
    first_weights: Tensor
    second_weights: Tensor


def forward_pairs(model: PipoModel, batch: Batch) -> Forward:
    first_ids = _shifted(batch.ids, 2)
    with narrow_products(batch.ids.device):
        hidden = model.pair_hidden(batch.ids)
        draft = model.draft_hidden(hidden, first_ids)
    return Forward(
        hidden,
        draft,
        first_ids,
        _shifted(batch.ids, 3),
        _shifted(batch.weights, 2),
        _shifted(batch.weights, 3),
    )


def gate_loss(score: Callable[..., Tensor], inputs: tuple[Tensor, ...], target: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy of a gate against `target` [B, L] over valid rows; it moves nothing but the gate."""
    with narrow_products(target.device):
        logits = score(*(rows.detach() for rows in inputs)).float().view_as(target)
    errors = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (errors * valid).sum() / valid.sum().clamp(min=1)


def pair_losses(model: PipoModel, batch: Batch) -> dict[str, Tensor]:
    """The three losses of `pipo.losses`, with a weight per token, at fixed shapes and in bf16 matrix products.

    A pre-gate learns the confidence head's target from the backbone's hidden alone.
    """
    rows = forward_pairs(model, batch)
    matrix = output_matrix(model)
    nlls = []
    for hidden, ids, weights in (
        (rows.hidden, rows.first_ids, rows.first_weights),
        (rows.draft, rows.second_ids, rows.second_weights),
    ):
        share = (weights / weights.sum().clamp(min=1e-9)).flatten()
        nlls.append(weighted_nll(hidden.flatten(0, 1), matrix, ids.flatten(), share))
    (first, _), (second, second_nll) = nlls
    valid = (rows.second_weights > 0).float()
    target = torch.exp(-second_nll).view_as(valid)
    confidence = gate_loss(model.confidence_head, (rows.hidden, rows.draft), target, valid)
    losses = {"loss": first + second + confidence, "first": first, "second": second, "confidence": confidence}
    if model.has_pre_gate:
        losses["pre_gate"] = gate_loss(model.pre_gate, (rows.hidden,), target, valid)
        losses["loss"] = losses["loss"] + losses["pre_gate"]
    return losses


def output_matrix(model: PipoModel) -> Tensor:
    """[V, H]"""
    return model.model.embed_tokens.weight if model.config.tie_word_embeddings else model.lm_head.weight


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


def with_adapter(model: PipoModel, rank: int, new_draft_head: bool) -> tuple[PipoModel, torch.nn.Module]:
    """The pair model to run and the module that is optimised: itself (`rank` 0), or the adapter around it in fp32."""
    if not rank:
        return model, model
    wrapped = wrap_with_adapter(model, rank, 2 * rank, dropout=0.05, new_draft_head=new_draft_head)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped.base_model.model, wrapped


def save_activations_memory(model: PipoModel) -> None:
    """Backbone layers keep their inputs only and run again in the backward pass."""
    enable = getattr(model.model, "activation_checkpointing_enable", None) or model.model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def training_source(
    arguments: argparse.Namespace, tokenizer: Tokenizer, pad: int
) -> BatchSource | ConversationSource:
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
    start.add_argument("--model", type=Path, help="checkpoint directory: plain Qwen3.5 or merged PIPO")
    parser.add_argument("--config", type=Path, help="size file, see configs/")
    parser.add_argument("--compressor", choices=COMPRESSOR_TYPES, default="mlp")
    parser.add_argument("--pre-gate", action="store_true", help="train a linear gate that decides before the draft")
    parser.add_argument("--lora", type=int, default=0, help="rank of the adapter; 0 trains every parameter")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    parser.add_argument("--length", type=int, default=768, help="most tokens per row, PADs included")
    parser.add_argument("--fim", type=float, default=0.75, help="share of fill-in-the-middle samples")
    parser.add_argument("--tasks", type=float, default=0.1, help="share of generated questions in chat format")
    parser.add_argument("--max-pad-ratio", type=float, default=0.5)
    parser.add_argument("--decay-from", type=float, default=0.5, help="share of the time after which the rate falls")
    parser.add_argument("--snapshots", type=Path, help="folder that always holds the newest exported model")
    arguments = parser.parse_args()
    if arguments.backbone and not arguments.config:
        parser.error("--backbone needs --config")
    if arguments.backbone and not arguments.tokenizer:
        parser.error("--backbone needs --tokenizer")
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
    model, trained = with_adapter(model, arguments.lora, new_draft_head)
    trained.to(pick_device(arguments.device))
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
            lambda batch: pair_losses(model, batch),
            budget_seconds(arguments, run.seconds),
            arguments.decay_from,
            export_snapshot,
            accumulate=arguments.rows if conversations else 1,
        )


if __name__ == "__main__":
    main()
