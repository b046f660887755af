"""Which measurements are made on which models, in an order that keeps all processes busy.

The threshold is chosen in the middle: what does not depend on it is asked for before, the rest after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer
from torch import Tensor

from pipo.batches import TextFile
from pipo.config import pad_token_id
from pipo.evaluation.answers import SAMPLES, Reply, answer, draw_tasks
from pipo.evaluation.choice import CANDIDATES, Choice, choose_threshold, keep_threshold
from pipo.evaluation.completing import Completion, complete, complete_surely, completion_scores, copy_names
from pipo.evaluation.copying import VARIANTS, CopyTask, draw_copy_tasks
from pipo.evaluation.cursors import KINDS, Cursor, draw_cursors
from pipo.evaluation.family import Member, is_pair_model, load_member, make_sampler
from pipo.evaluation.scoring import PairScores, draw_texts, pair_scores, plain_nll, slots_of
from pipo.evaluation.statistics import difference_error
from pipo.evaluation.work import Work
from pipo.fim import Sample, Sampler

PROMPT_TOKENS = 320
SEED = 5
REGULAR = None  # the threshold of a plain model
FIXED_THRESHOLDS = (0.0, 0.9, 1.0)  # measured on every pair model, beside the default


@dataclass(frozen=True)
class Sizes:
    """Cases per language; questions over all."""

    lines: int = 200
    blocks: int = 50
    spans: int = 50
    names: int = 40
    texts: int = 32
    middles: int = 40  # of each kind
    questions: int = 240
    samples: int = SAMPLES

    def cursors(self, kind: str) -> int:
        return {"line": self.lines, "block": self.blocks, "span": self.spans}[kind]


QUICK = Sizes(lines=24, blocks=8, spans=8, names=8, texts=6, middles=6, questions=24, samples=2)


@dataclass(frozen=True)
class Family:
    """The models side by side. `extra` ones get a short row only."""

    plain: Member | None = None
    sft: Member | None = None
    opd: Member | None = None
    extra: tuple[Member, ...] = ()

    @property
    def members(self) -> list[Member]:
        return [m for m in (self.plain, self.sft, self.opd) if m is not None]

    @property
    def pair_members(self) -> list[Member]:
        return [m for m in (self.sft, self.opd) if m is not None]

    @property
    def main(self) -> Member | None:
        """The model that ships: the last stage's."""
        return self.opd or self.sft


@dataclass(frozen=True)
class Case:
    """A prompt and its true continuation, for teacher-forced scores."""

    language: str
    part: str
    sample: Sample


class Plan:
    """Draws all cases, asks for measurements and turns their results into rows."""

    def __init__(
        self, family: Family, tokenizer: Tokenizer, files: list[TextFile], sizes: Sizes, work: Work, device: str
    ) -> None:
        self.family, self.tokenizer, self.device, self.sizes = family, tokenizer, device, sizes
        sampler = make_sampler(family.main or [*family.members, *family.extra][0], tokenizer, PROMPT_TOKENS)
        by_language: dict[str, list[TextFile]] = {}
        for file in files:
            by_language.setdefault(file.language, []).append(file)
        self.languages = sorted(by_language)
        self.cursors: dict[tuple[str, str], list[Cursor]] = {
            (kind, language): draw_cursors(
                by_language[language], sampler, kind, sizes.cursors(kind), PROMPT_TOKENS, SEED
            )
            for kind in KINDS
            for language in self.languages
        }
        self.copies: dict[str, dict[str, list[CopyTask]]] = {
            language: draw_copy_tasks(by_language[language], sampler, sizes.names, PROMPT_TOKENS, SEED)
            for language in self.languages
        }
        self.cases = draw_cases(by_language, self.cursors, sampler, sizes)
        self.questions = draw_tasks(sizes.questions, SEED)
        self.packages = sorted({file.package for file in files})
        self.random_gate: dict[str, object] = {}
        self.sweep = sorted((*CANDIDATES, 0.0, 1.0))  # thresholds of the main model on rest-of-line cursors
        self.work = work

    def want_completions(self, member: Member, kind: str, threshold: float | None, **options: object) -> None:
        for language in self.languages:
            self.work.want(
                completion_key(member, kind, language, threshold, options),
                complete, member, self.device, self.tokenizer, self.cursors[kind, language], threshold, **options,
            )  # fmt: skip

    def want_sure_lines(self, member: Member, threshold: float | None) -> None:
        for language in self.languages:
            self.work.want(
                ("sure", member.name, language, threshold),
                complete_surely, member, self.device, self.tokenizer, self.cursors["line", language], threshold,
            )  # fmt: skip

    def want_copies(self, member: Member, threshold: float | None) -> None:
        for variant in VARIANTS:
            tasks = [task for by_variant in self.copies.values() for task in by_variant[variant]]
            self.work.want(
                ("copy", member.name, variant, threshold),
                copy_names, member, self.device, self.tokenizer, tasks, threshold,
            )  # fmt: skip

    def want_answers(self, member: Member, threshold: float | None) -> None:
        for seed in range(self.sizes.samples):
            self.work.want(
                ("answer", member.name, threshold, seed),
                answer, member, self.device, self.tokenizer, self.questions, threshold, 1, seed,
            )  # fmt: skip
        self.work.want(
            ("answer", member.name, threshold, "greedy"),
            answer, member, self.device, self.tokenizer, self.questions, threshold, 0,
        )  # fmt: skip

    def want_scores(self, member: Member) -> None:
        samples = [case.sample for case in self.cases]
        if not is_pair_model(member):
            self.work.want(("score", member.name), score_plain, member, self.device, samples)
            return
        for mode, sees_prompt in (("pairs", True), ("pairs", False), ("single", True)):
            key = ("score", member.name, mode, sees_prompt)
            self.work.want(key, score_pairs, member, self.device, samples, mode, sees_prompt)

    def run(self, given_threshold: float | None) -> Choice | None:
        """Makes all measurements; None without a pair model and a given threshold."""
        main, plain = self.family.main, self.family.plain
        if given_threshold is not None:
            self.sweep = sorted({*self.sweep, given_threshold})
        if main:
            for threshold in self.sweep:
                self.want_completions(main, "line", threshold)
        if plain:
            self.want_completions(plain, "line", REGULAR)
        for member in self.family.pair_members:
            self.want_at(member, FIXED_THRESHOLDS)
        if plain:
            self.want_at(plain, (REGULAR,))
            self.want_answers(plain, REGULAR)
        for member in (*self.family.members, *self.family.extra):
            self.want_scores(member)
        choice = self.choose(given_threshold)
        if choice:
            self.want_at_default(choice.threshold)
        return choice

    def want_at(self, member: Member, thresholds: tuple[float | None, ...]) -> None:
        for threshold in thresholds:
            for kind in ("block", "span", "line"):
                self.want_completions(member, kind, threshold)
            self.want_copies(member, threshold)

    def want_at_default(self, threshold: float | None) -> None:
        for member in self.family.pair_members:
            self.want_answers(member, threshold)
            self.want_at(member, (threshold,))
            self.want_completions(member, "line", threshold, draft_sees_prompt=False)
        if self.family.main:
            made = self.completions(self.family.main, "line", threshold)
            drafts = sum(len(completion.confidences) for completion in made)
            self.random_gate = {
                "random_gate": round(sum(completion.accepted for completion in made) / max(drafts, 1), 4)
            }
            self.want_completions(self.family.main, "line", threshold, **self.random_gate)
            self.want_sure_lines(self.family.main, threshold)
        for member in self.family.extra:
            self.want_completions(member, "line", threshold if is_pair_model(member) else REGULAR)

    def choose(self, given: float | None) -> Choice | None:
        if not self.family.main:
            return Choice(given, f"{given:g} was set by hand.") if given is not None else None
        exact = None
        if self.family.plain:
            exact = completion_scores(self.completions(self.family.plain, "line", REGULAR))["exactMatch"]
        rows = self.line_rows()
        return choose_threshold(rows, exact) if given is None else keep_threshold(given, rows, exact)

    # Results

    def line_rows(self) -> list[dict]:
        """The main model's scores on the rest-of-line cursors, by threshold."""
        rows = []
        for threshold in self.sweep:
            made = self.completions(self.family.main, "line", threshold)
            row = {"threshold": threshold, **completion_scores(made)}
            if self.family.plain:
                regular = self.completions(self.family.plain, "line", REGULAR)
                row["differenceError"] = difference_error([c.exact for c in made], [c.exact for c in regular])
            rows.append(row)
        return rows

    def completions(
        self, member: Member, kind: str, threshold: float | None, language: str | None = None, **options: object
    ) -> list[Completion]:
        """Of one language, or of all."""
        return [
            completion
            for name in ([language] if language else self.languages)
            for completion in self.work.result(completion_key(member, kind, name, threshold, options))
        ]

    def sure_lines(self, member: Member, threshold: float, language: str) -> list[Completion]:
        return self.work.result(("sure", member.name, language, threshold))

    def copied(self, member: Member, variant: str, threshold: float | None) -> list[bool]:
        return self.work.result(("copy", member.name, variant, threshold))

    def replies(self, member: Member, threshold: float | None) -> tuple[list[Reply], list[Reply]]:
        """Greedy and sampled ones."""
        key = ("answer", member.name, threshold)
        sampled = [reply for seed in range(self.sizes.samples) for reply in self.work.result((*key, seed))]
        return self.work.result((*key, "greedy")), sampled

    def plain_scores(self, member: Member) -> tuple[Tensor, Tensor]:
        return self.work.result(("score", member.name))

    def pair_scores(self, member: Member, mode: str = "pairs", sees_prompt: bool = True) -> PairScores:
        return self.work.result(("score", member.name, mode, sees_prompt))


def draw_cases(
    files: dict[str, list[TextFile]], cursors: dict[tuple[str, str], list[Cursor]], sampler: Sampler, sizes: Sizes
) -> list[Case]:
    """Stretches of text by language, then the first middles of every kind of cursor, each with its end."""
    cases = [
        Case(language, "text", sample)
        for language, found in files.items()
        for sample in draw_texts(found, sampler, sizes.texts, SEED)
    ]
    for drawn in cursors.values():
        for cursor in drawn[: sizes.middles]:
            ids = [*cursor.prompt, *sampler.encode(cursor.expected), sampler.special.end]
            cases.append(Case(cursor.language, "middle", Sample(ids, len(cursor.prompt))))
    return cases


def completion_key(member: Member, kind: str, language: str, threshold: float | None, options: dict) -> tuple:
    return ("complete", member.name, kind, language, threshold, *sorted(options.items()))


def score_plain(member: Member, device: str, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    return plain_nll(load_member(member, device), samples)


def score_pairs(member: Member, device: str, samples: list[Sample], mode: str, sees_prompt: bool) -> PairScores:
    model = load_member(member, device)
    sequences = [slots_of(sample, pad_token_id(model.config), mode) for sample in samples]
    return pair_scores(model, [slots for slots, _ in sequences], [start for _, start in sequences], sees_prompt)
