"""What the evaluation's numbers mean: statistics, the gate's table, the threshold rule, names to copy."""

import math
import random
from itertools import combinations
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pipo.batches import TextFile
from pipo.evaluation.answers import Reply, answer_scores
from pipo.evaluation.card import BEGIN, END, update_card
from pipo.evaluation.choice import choose_threshold
from pipo.evaluation.completing import Completion, completion_scores, sureness_table
from pipo.evaluation.copying import VARIANTS, CopyTask, draw_copy_tasks, is_copied
from pipo.evaluation.cursors import compared_text, draw_cursors
from pipo.evaluation.gate import drafts_avoided, gate_table
from pipo.evaluation.scoring import slots_of
from pipo.evaluation.statistics import (
    calibration_bins,
    difference_error,
    edit_distance,
    edit_similarity,
    pass_at_k,
    ranking_quality,
)
from pipo.fim import Sample, Sampler
from pipo.tokenizer import train

SOURCE = """class RequestHandler:
    def open_connection(self, remote_address):
        return connect(remote_address, timeout=self.max_waiting_time)

    def close_connection(self, remote_address, max_waiting_time):
        if remote_address in self.known_addresses:
            self.known_addresses.remove(remote_address)
        return max_waiting_time < self.max_waiting_time
"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(iter([SOURCE] * 2))


@pytest.fixture
def files() -> list[TextFile]:
    return [TextFile("handler.py", "python", "held-out", SOURCE)]


@pytest.mark.parametrize("right", range(5))
def test_pass_at_k_is_the_share_of_all_draws(right: int) -> None:
    answers = [True] * right + [False] * (4 - right)
    for k in range(1, 5):
        draws = list(combinations(answers, k))
        assert pass_at_k(4, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_refuses_more_draws_than_samples() -> None:
    with pytest.raises(ValueError, match="pass@5"):
        pass_at_k(4, 1, 5)


def test_the_error_of_a_difference_knows_that_the_cases_are_the_same() -> None:
    flags = [True, False] * 8
    assert difference_error(flags, flags) == 0.0
    assert difference_error([True] * 8 + [False] * 8, flags) == pytest.approx(math.sqrt(8) / 16)


def test_edit_distance_is_the_written_out_one() -> None:
    def written_out(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(written_out(a[1:], b) + 1, written_out(a, b[1:]) + 1, written_out(a[1:], b[1:]) + (a[0] != b[0]))

    source = random.Random(4)
    for _ in range(60):
        a, b = ("".join(source.choices("abc", k=source.randint(0, 5))) for _ in range(2))
        assert edit_distance(a, b) == written_out(a, b)
    assert edit_similarity("abxd", "abcd") == 0.75
    assert edit_similarity("", "") == edit_similarity("return x", "return x") == 1.0


def test_ranking_quality_counts_ties_half() -> None:
    scores, positive = torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1])
    assert ranking_quality(scores, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert ranking_quality(scores, torch.ones(4)) is None


def test_calibration_bins_and_their_error() -> None:
    confidence, right = torch.tensor([0.05, 0.15, 0.15, 0.95]), torch.tensor([False, True, False, True])
    rows, error = calibration_bins(confidence, right)
    assert [row["from"] for row in rows] == [0.0, 0.1, 0.9]
    assert [row["share"] for row in rows] == [0.25, 0.5, 0.25]
    assert rows[1]["found"] == 0.5
    assert error == pytest.approx(0.25 * 0.05 + 0.5 * 0.35 + 0.25 * 0.05)


def test_a_gate_is_compared_with_a_random_one_and_an_oracle_of_the_same_rate() -> None:
    confidence = torch.tensor([0.95, 0.9, 0.6, 0.4, 0.15, 0.05])
    right = torch.tensor([True, True, False, True, False, False])
    rows = {row["threshold"]: row for row in gate_table(confidence, right)}
    assert rows[0.0]["acceptanceRate"] == 1.0 and rows[0.0]["precision"] == 0.5
    assert rows[0.5]["acceptanceRate"] == 0.5 and rows[0.5]["precision"] == pytest.approx(2 / 3)
    assert rows[0.5]["oraclePrecision"] == 1.0 and rows[0.1]["oraclePrecision"] == pytest.approx(3 / 5)
    assert rows[0.9]["rightDraftsAccepted"] == pytest.approx(2 / 3) and rows[0.9]["tokensPerStep"] == 4 / 3
    assert all(row["randomPrecision"] == 0.5 for row in rows.values())


def test_drafts_avoided_keeps_the_asked_share() -> None:
    signal = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    accepted = torch.tensor([1, 1, 0, 1, 0, 1, 0, 0]).bool()
    assert drafts_avoided(signal, accepted, kept=1.0) == 2 / 8
    assert drafts_avoided(signal, accepted, kept=0.75) == 4 / 8


def line_row(threshold: float, exact: float, tokens_per_step: float) -> dict:
    return {"threshold": threshold, "exactMatch": exact, "tokensPerStep": tokens_per_step, "differenceError": 0.004}


def test_the_threshold_is_the_best_of_the_fast_ones_and_the_strictest_of_equals() -> None:
    rows = [line_row(0.0, 0.5, 2.0), line_row(0.1, 0.2, 1.8), line_row(0.2, 0.3, 1.7), line_row(0.3, 0.3, 1.5)]
    rows.append(line_row(0.4, 0.4, 1.49))
    choice = choose_threshold(rows, plain_exact=0.31)
    assert choice.threshold == 0.3  # 0 is no gate, 0.4 is too slow
    assert "1.0 ± 0.4 points fewer" in choice.reason and "not within" not in choice.reason
    assert "not within" in choose_threshold(rows, plain_exact=0.33).reason


def test_without_a_fast_threshold_the_nearest_is_taken_and_its_distance_told() -> None:
    choice = choose_threshold([line_row(0.1, 0.2, 1.3), line_row(0.2, 0.3, 1.2)], plain_exact=None)
    assert choice.threshold == 0.1 and "0.20 below" in choice.reason


def completion(exact: bool, confidences: tuple[float, ...], steps: int = 4, accepted: int = 2) -> Completion:
    return Completion("x", exact, float(exact), steps, accepted, confidences, (0.5, 0.5))


def test_completions_are_counted_with_their_error() -> None:
    scores = completion_scores([completion(True, ()), completion(False, (), steps=6, accepted=1)])
    assert scores["exactMatch"] == 0.5 and scores["standardError"] == pytest.approx((0.25 / 2) ** 0.5)
    assert scores["tokensPerStep"] == 1.3


def test_surer_lines_fall_into_higher_buckets() -> None:
    made = [
        completion(True, (0.9, 1.0)),
        completion(False, (0.9, 0.1)),
        completion(False, (0.3,)),
        completion(True, ()),
    ]
    table = sureness_table(made)
    lowest = table["lowestConfidence"]
    assert [bucket["count"] for bucket in lowest["buckets"]] == [1, 1, 0, 0, 1]
    assert lowest["buckets"][-1]["exactMatch"] == lowest["rankingQuality"] == 1.0
    assert lowest["count"] == 3 and table["tokenProbability"]["buckets"][2]["count"] == 4


def test_replies_are_grouped_and_weighted_by_question() -> None:
    def reply(task: int, right: bool) -> Reply:
        return Reply("lists" if task else "numbers", task, right, 4, 8, 6)

    sampled = [reply(0, True), reply(0, False), reply(1, False), reply(1, False)]
    rows = {row["group"]: row for row in answer_scores([reply(0, True), reply(1, False)], sampled)}
    assert rows["numbers"]["pass1"] == 0.5 and rows["numbers"]["pass2"] == 1.0
    assert rows["all"]["pass1"] == 0.25 and rows["all"]["greedyPass1"] == 0.5 and rows["all"]["count"] == 2
    assert rows["all"]["tokensPerStep"] == 1.5


def test_names_to_copy_stand_in_the_prompt(tokenizer: Tokenizer, files: list[TextFile]) -> None:
    sampler = Sampler(tokenizer, 320)
    tasks = draw_copy_tasks(files, sampler, 6, 320, seed=1)
    assert [len(tasks[variant]) for variant in VARIANTS] == [6, 6]
    for original, renamed in zip(tasks["original"], tasks["renamed"], strict=True):
        for task in (original, renamed):
            text = tokenizer.decode(task.prompt, skip_special_tokens=True)
            assert text.endswith(task.name[: task.typed]) and 1 <= task.typed <= 3
            assert task.name in text[: -task.typed] and len(task.name) >= 8
            assert len(sampler.encode(task.rest)) >= 2
        assert original.name in SOURCE and renamed.name not in SOURCE
        assert original.name not in tokenizer.decode(renamed.prompt)


def test_a_copied_name_must_end_where_the_name_ends() -> None:
    task = CopyTask("original", "python", [], "known_addresses", 2)
    assert is_copied(task, "own_addresses.remove(") and is_copied(task, "own_addresses")
    assert not is_copied(task, "own_addresses2") and not is_copied(task, "own_address")


def test_cursors_of_each_kind_have_something_to_find(tokenizer: Tokenizer, files: list[TextFile]) -> None:
    sampler = Sampler(tokenizer, 320)
    for kind in ("line", "block", "span"):
        cursors = draw_cursors(files, sampler, kind, 8, 320, seed=2)
        assert cursors == draw_cursors(files, sampler, kind, 8, 320, seed=2)
        for cursor in cursors:
            assert cursor.typed + cursor.expected in SOURCE
            assert tokenizer.decode(cursor.prompt, skip_special_tokens=True).endswith(cursor.typed)
            assert ("\n" in cursor.expected.strip()) == (kind == "block") or kind == "span"


def test_completions_are_compared_by_the_lines_that_were_asked_for() -> None:
    assert compared_text("line", "a = 1 \nb = 2", "a = 1") == "a = 1"
    assert compared_text("block", "a\nb\nc", "x\ny\n") == "a\nb\nc"
    assert compared_text("block", "a\nb\nc", "x\ny") == "a\nb"
    assert compared_text("span", "a\nb\n", "x") == "a\nb"


def test_every_response_token_is_predicted_once_in_each_mode() -> None:
    sample = Sample([1, 2, 3, 4, 5, 6], response_start=3)
    assert slots_of(sample, 0, "pairs") == ([1, 2, 3, 0, 4, 5, 6, 0], 4)
    assert slots_of(sample, 0, "single") == ([1, 2, 3, 0, 4, 0, 5, 0, 6, 0], 4)


def test_a_card_keeps_everything_but_the_tables(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"# Model\n\n{BEGIN}\nold\n{END}\n\nLimits.\n", "utf-8")
    for _ in range(2):  # again: nothing grows
        update_card(card, "| a |\n")
        assert card.read_text("utf-8") == f"# Model\n\n{BEGIN}\n\n| a |\n\n{END}\n\nLimits.\n"
    card.write_text("# Model\n", "utf-8")
    with pytest.raises(ValueError, match="expected one line"):
        update_card(card, "")
