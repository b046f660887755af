"""On-policy distillation: the pair model answers with its own gate, a frozen plain teacher scores what it wrote.

    python -m pipo.opd --config configs/pipo-code-9m.json --student cache/sft/checkpoint.pt \\
        --teacher cache/pretrain/checkpoint.pt --data cache/data --tokenizer cache/tokenizer --out cache/opd \\
        --minutes 30

Each step draws new prompts, lets the current student answer them, and takes one optimiser step on first tokens,
drafts and confidence. Student and teacher may also be checkpoint directories of released models; `--data` is then
a file of conversations whose answers are left out:

    python -m pipo.opd --student runs/sft-merged --teacher Qwen3.5-9B --data conversations.jsonl --out runs/opd \\
        --minutes 600 --lora 64 --gradient-checkpointing --optimizer adamw --lr 1e-4 --kl topk --max-tokens 4096
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pipo.batches import FilePicker, read_split
from pipo.config import pad_token_id, real_vocab_size
from pipo.conversations import conversation_prompt, read_conversations
from pipo.decoding import pad_to_even
from pipo.distillation import DEFAULT_TOP_K, Rows, compact, distill, first_rows, second_rows
from pipo.fast_gdn import fast_gated_deltanet
from pipo.fim import Sampler
from pipo.generation import Generation, Sampling, generate_pairs
from pipo.losses import IGNORED
from pipo.modeling import PipoModel
from pipo.pair_losses import gate_loss
from pipo.starting import read_model, save_activations_memory, with_adapter
from pipo.tasks import chat_prompt, make_task
from pipo.trainer import Optimizers, Run, Workers, add_run_arguments, budget_seconds, narrow_products, pick_device

WARM_STEPS = 20
GROUPED_STEPS = 4


@dataclass(frozen=True)
class Rollouts:
    """Answered prompts, [B, 2L] each. `labels` are −100 outside of the answers, PAD where the gate was closed.

    `weights` are 1 at tokens of answers, by which a run counts what it has learnt from.
    """

    ids: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Rollouts:
        return Rollouts(self.ids.to(device), self.labels.to(device), self.weights.to(device))


def as_rollouts(prompts: list[list[int]], generations: list[Generation], pad: int) -> Rollouts:
    """One row per prompt; what is behind an answer is PAD and never seen, the models being causal."""
    ids, labels = [], []
    for prompt, generation in zip(prompts, generations, strict=True):
        start = pad_to_even(prompt, pad)
        ids.append(start + generation.slots)
        labels.append([IGNORED] * len(start) + generation.slots)
    length = max(map(len, ids))
    length += length % 2
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in ids])
    labels = torch.tensor([row + [IGNORED] * (length - len(row)) for row in labels])
    return Rollouts(ids, labels, ((labels != IGNORED) & (labels != pad)).float())


@dataclass(frozen=True)
class Objective:
    """Which losses of `distillation.py` the two outputs get."""

    first: str = "full"
    draft: str = "full"
    top_k: int = DEFAULT_TOP_K
    fill_pad_label: bool = True
    rows_per_chunk: int = 1024


def opd_losses(student: PipoModel, teacher: PipoModel, batch: Rollouts, objective: Objective) -> dict[str, Tensor]:
    """Means over the rows of answers: first token, draft, confidence; and what says how the run goes.

    A pre-gate learns the confidence head's target.
    """
    pad = pad_token_id(student.config)
    text, idx = compact(batch.ids, pad)
    with narrow_products(batch.ids.device):
        hidden = student.pair_hidden(batch.ids)[:, :-1]
        draft_hidden = student.draft_hidden(hidden, batch.ids[:, 2::2])
        with torch.no_grad():
            teacher_hidden = teacher.plain_hidden(text)

    def distilled(states: Tensor, rows: Rows, mode: str):
        sides = (
            (states[rows.sequence, rows.student], wide_logits(student)),
            (teacher_hidden[rows.sequence, rows.teacher], wide_logits(teacher)),
        )
        return distill(*sides, rows.labels, pad, mode, objective.top_k, objective.rows_per_chunk)

    firsts, seconds = first_rows(batch.labels, idx), second_rows(batch.labels, idx, pad, objective.fill_pad_label)
    first = distilled(hidden, firsts, objective.first)
    draft = distilled(draft_hidden, seconds, objective.draft)
    seen = tuple(x[seconds.sequence, seconds.student] for x in (hidden, draft_hidden))
    everywhere = torch.ones_like(draft.target)
    confidence = gate_loss(student.confidence_head, seen, draft.target, everywhere)
    kept, proposed = seconds.labels != pad, batch.labels[:, 3::2] != IGNORED
    losses = {
        "first": _mean(first.loss),
        "draft": _mean(draft.loss),
        "confidence": confidence,
    }
    if student.has_pre_gate:
        losses["pre_gate"] = gate_loss(student.pre_gate, seen[:1], draft.target, everywhere)
    return {
        "loss": sum(losses.values()),
        **losses,
        "accepted": kept.sum() / proposed.sum().clamp(min=1),
        "teacher_log_prob": _mean(torch.cat([first.teacher_log_prob, draft.teacher_log_prob[kept]])),
    }


def wide_logits(model: PipoModel) -> Callable[[Tensor], Tensor]:
    """hidden [n, H] → logits [n, real vocabulary]; rounded ones would be as far apart as student and teacher are."""
    count, dtype = real_vocab_size(model.config), model.model.embed_tokens.weight.dtype

    def logits(hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return model.logits(hidden.to(dtype))[:, :count]

    return logits


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)


class CodePrompts:
    """Prompts as an editor or a chat would send them: completions at random cursors, and generated questions."""

    def __init__(self, data: Path, sampler: Sampler, task_share: float) -> None:
        self.picker, self.sampler, self.task_share = FilePicker(read_split(data / "train.jsonl")), sampler, task_share

    def draw(self, source: random.Random) -> list[int]:
        if source.random() < self.task_share:
            return chat_prompt(self.sampler.tokenizer, make_task(source).question)
        file = self.picker.pick(source)
        sample = self.sampler.fill_in_the_middle(file.name, file.text, source, self.sampler.max_tokens)
        return sample.ids[: sample.response_start]


class ConversationPrompts:
    """The questions of a file of conversations; longer ones than `max_tokens` are left out."""

    def __init__(self, file: Path, tokenizer: Tokenizer, max_tokens: int) -> None:
        prompts = [conversation_prompt(tokenizer, messages[:-1]) for messages in read_conversations(file)]
        self.prompts = [prompt for prompt in prompts if len(prompt) <= max_tokens]
        if not self.prompts:
            raise ValueError(f"{file}: no prompt of at most {max_tokens} tokens; raise --length")

    def draw(self, source: random.Random) -> list[int]:
        return source.choice(self.prompts)


@dataclass(frozen=True)
class Policy:
    """How the student answers, its gate at `threshold`."""

    threshold: float
    max_tokens: int
    stop_ids: tuple[int, ...]
    sampling: Sampling


def rollouts(student: PipoModel, policy: Policy, drawn: Iterator[tuple[list[list[int]], int]]) -> Iterator[Rollouts]:
    """Endless batches, each answered by the student as it is when the batch is asked for."""
    for prompts, seed in drawn:
        sampling = replace(policy.sampling, seed=seed)
        student.eval()
        with _decoding_products(student):
            answers = generate_pairs(
                student, prompts, policy.threshold, policy.max_tokens, policy.stop_ids, sampling, rows=len(prompts)
            )
        student.train()
        yield as_rollouts(prompts, answers, pad_token_id(student.config))


def _decoding_products(student: PipoModel) -> AbstractContextManager:
    """Narrow products, but not on a CPU, where they are slower for the few rows of a decode step, if it can be."""
    like = student.model.embed_tokens.weight
    narrow = like.dtype != torch.float32 or like.device.type != "cpu"
    return narrow_products(like.device) if narrow else nullcontext()


def prompts_by_step(
    prompts: CodePrompts | ConversationPrompts, rows: int, seed: int, first_step: int, workers: Workers
) -> Iterator[tuple[list[list[int]], int]]:
    """Prompts of every step from `first_step` on, and a seed for their answers; each worker has its own.

    The prompts of `GROUPED_STEPS` steps are drawn together and shared out by length, to save padding. At a step
    all workers have prompts of the same rank in length, so that none waits long for another.
    """
    step = first_step
    while True:
        group, place = divmod(step, GROUPED_STEPS)
        source = random.Random(f"{seed}/{group}/{workers.rank}")
        drawn = sorted((prompts.draw(source) for _ in range(rows * GROUPED_STEPS)), key=len)
        order = random.Random(f"{seed}/{group}").sample(range(GROUPED_STEPS), GROUPED_STEPS)
        part = order[place] * rows
        yield drawn[part : part + rows], random.Random(f"{seed}/{step}/{workers.rank}").getrandbits(48)
        step += 1


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.set_defaults(lr=5e-4)
    parser.add_argument("--student", type=Path, required=True, help="pair model: checkpoint.pt or directory")
    parser.add_argument("--teacher", type=Path, required=True, help="plain model: checkpoint.pt or directory")
    parser.add_argument("--config", type=Path, help="size file of a checkpoint.pt, see configs/")
    parser.add_argument("--lora", type=int, default=0, help="rank of the adapter; 0 trains every parameter")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    parser.add_argument("--kl", choices=("sampled", "topk", "full"), default="full")
    parser.add_argument("--draft-loss", choices=("kl", "tv"), default="kl", help="kl: as --kl; tv: total variation")
    parser.add_argument("--top-k", type=int, default=DEFAULT_TOP_K, help="tokens per side of --kl topk")
    parser.add_argument("--no-fill-pad-label", action="store_true", help="no loss where the gate was closed")
    # Agreement with the teacher is higher than the chance of the right token, which fine-tuning teaches: on a small
    # model's answers 0.7 keeps about half of the drafts.
    parser.add_argument("--threshold", type=float, default=0.7, help="the gate's, in the student's answers")
    parser.add_argument("--task-share", type=float, default=0.3, help="share of generated questions in chat format")
    parser.add_argument("--length", type=int, default=320, help="most tokens of a prompt")
    parser.add_argument("--max-tokens", type=int, default=72, help="most tokens of an answer")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--sample-top-k", type=int, default=20)
    parser.add_argument("--presence", type=float, default=0.0, help="presence penalty of the answers")
    parser.add_argument("--decay-from", type=float, default=0.5, help="share of the time after which the rate falls")
    arguments = parser.parse_args()
    arguments.tokenizer = arguments.tokenizer or arguments.student
    return arguments


def main() -> None:
    arguments = read_arguments()
    workers = Workers.join()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    device = pick_device(arguments.device)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    narrow = torch.bfloat16 if arguments.lora else torch.float32
    student = read_model(arguments.student, arguments.config, tokenizer, narrow)
    if not student.is_pair_model:
        raise ValueError(f"{arguments.student} has no compressor; fine-tune it with pipo.sft first")
    if arguments.gradient_checkpointing:
        save_activations_memory(student)
    student, trained = with_adapter(student, arguments.lora, block_norms=False)
    teacher = read_model(arguments.teacher, arguments.config, tokenizer, narrow).eval().requires_grad_(False)
    trained.to(device)
    teacher.to(device)
    run = Run(arguments.out, trained, Optimizers(trained, arguments.lr, arguments.optimizer), workers)
    if arguments.data.suffix == ".jsonl":
        prompts = ConversationPrompts(arguments.data, tokenizer, arguments.length)
    else:
        prompts = CodePrompts(arguments.data, Sampler(tokenizer, arguments.length), arguments.task_share)
    stop_ids = (tokenizer.token_to_id("<|im_end|>"),)
    sampling = Sampling(arguments.temperature, arguments.top_p, arguments.sample_top_k, arguments.presence)
    policy = Policy(arguments.threshold, arguments.max_tokens, stop_ids, sampling)
    draft = "tv" if arguments.draft_loss == "tv" else arguments.kl
    objective = Objective(arguments.kl, draft, arguments.top_k, not arguments.no_fill_pad_label)
    with fast_gated_deltanet():
        run.train(
            rollouts(student, policy, prompts_by_step(prompts, arguments.rows, arguments.seed, run.step, workers)),
            lambda batch: opd_losses(student, teacher, batch, objective),
            budget_seconds(arguments, run.seconds),
            arguments.decay_from,
            (lambda: trained.save_pretrained(arguments.out / "adapter")) if arguments.lora else (lambda: None),
            warm_steps=WARM_STEPS,
        )


if __name__ == "__main__":
    main()
