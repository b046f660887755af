"""The generated tasks: their answers are right, their reasoning leads there, their sides never meet."""

import contextlib
import io
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pipo.tasks import GROUPS, KINDS, Task, chat_prompt, chat_sample, is_held_out, is_right, make_task

TOKENIZER = Path(__file__).parents[2] / "models" / "pipo-code-9m" / "tokenizer.json"
DRAWS = 200  # tasks of each kind


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


def draw(kind: str, count: int = DRAWS, held_out: bool = False) -> list[Task]:
    source = random.Random(f"{kind} {held_out}")
    return [make_task(source, (kind,), held_out) for _ in range(count)]


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def listed(question: str) -> list[int]:
    return json.loads(re.search(r"\[.*?\]", question).group())


def outside_list(question: str) -> int:
    """The one number of a question besides its list, behind any mention of the first index."""
    rest = re.sub(r"\[.*?\]|Counting from 0|The first index is 0", "", question)
    (number,) = numbers(rest)
    return number


def quoted(question: str) -> str:
    return re.findall(r'"([^"]*)"', question)[-1]


def ends(question: str) -> str:
    (count,) = numbers(question)
    return quoted(question)[:count] if " first " in question else quoted(question)[-count:]


def only_letter(question: str) -> int:
    letter, word = re.findall(r'"([^"]*)"', question)
    return sum(other == letter for other in word)


def printed(question: str) -> str:
    """What a question's Python program prints, or the value of its expression."""
    wording, _, code = question.partition("\n")
    if "expression" in wording:
        return str(eval(code))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, {})
    return output.getvalue().strip()


EXPECTED: dict[str, Callable[[str], object]] = {
    "add": lambda q: sum(numbers(q)),
    "subtract": lambda q: max(numbers(q)) - min(numbers(q)),
    "multiply": lambda q: numbers(q)[0] * numbers(q)[1],
    "compare": lambda q: (max if "larger" in q else min)(numbers(q)),
    "list_sum": lambda q: sum(listed(q)),
    "list_extreme": lambda q: (max if "largest" in q else min)(listed(q)),
    "list_sort": lambda q: sorted(listed(q)),
    "list_reverse": lambda q: list(reversed(listed(q))),
    "list_element": lambda q: listed(q)[outside_list(q)],
    "list_count": lambda q: listed(q).count(outside_list(q)),
    "string_reverse": lambda q: "".join(reversed(quoted(q))),
    "string_count": only_letter,
    "string_upper": lambda q: quoted(q).upper(),
    "string_ends": ends,
    "string_join": lambda q: "-".join(quoted(q)),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_answers_agree_with_an_independent_computation(kind: str) -> None:
    for task in draw(kind):
        assert task.answer == str(EXPECTED[kind](task.question)), task


@pytest.mark.parametrize("kind", GROUPS["code"])
def test_python_prints_the_answer(kind: str) -> None:
    tasks = [task for task in draw(kind) if "Python" in task.question]
    assert len(tasks) > DRAWS / 4
    for task in tasks:
        assert task.answer == printed(task.question), task


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_typescript_prints_the_answer() -> None:
    tasks = [task for kind in GROUPS["code"] for task in draw(kind) if "TypeScript" in task.question]
    assert len(tasks) > DRAWS / 4 * len(GROUPS["code"])
    lines = []
    for task in tasks:
        wording, _, code = task.question.partition("\n")
        lines.append(f"{{\n{f'console.log({code});' if 'expression' in wording else code}\n}}")
    # The programs hold no type annotations, so they are JavaScript, too. Each prints one line.
    result = subprocess.run(["node"], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60)
    for task, line in zip(tasks, result.stdout.splitlines(), strict=True):
        assert task.answer == line, task


def test_every_kind_is_checked_and_drawn() -> None:
    assert set(EXPECTED) | set(GROUPS["code"]) == set(KINDS)
    source = random.Random(0)
    assert {make_task(source).kind for _ in range(1000)} == set(KINDS)


ENDS_WITH_ANSWER = (
    "add", "multiply", "list_sum", "list_extreme", "list_count", "string_count", "list_element",
    "code_expression", "code_assign", "code_loop",
)  # fmt: skip


def test_thinking_ends_with_the_answer() -> None:
    for kind in ENDS_WITH_ANSWER:
        for task in draw(kind):
            if kind == "code_expression" and re.search(r"//|floor", task.question):
                continue  # the quotient is the factor in the line before
            assert numbers(task.thinking)[-1] == int(task.answer), task
    for task in draw("subtract"):
        assert numbers(task.thinking)[-1] == int(task.answer), task  # leading zeros fall away
    for kind in ("string_reverse", "string_upper", "string_ends", "code_slice"):
        for task in draw(kind):
            assert re.sub(r"\d", "", task.thinking.splitlines()[-1]) == task.answer, task
    for task in draw("list_reverse"):
        assert numbers(task.thinking.splitlines()[-1]) == json.loads(task.answer), task


def test_calculations_in_the_thinking_are_true() -> None:
    checked = 0
    for kind in (*GROUPS["arithmetic"], "list_sum", *GROUPS["code"]):
        for task in draw(kind):
            for left, right in re.findall(r"(\d+(?:[-+*]\d+)+)=(\d+)", task.thinking):
                assert eval(left) == int(right), task
                checked += 1
    assert checked > 10 * DRAWS


def test_held_out_questions_never_meet_training_questions() -> None:
    training = {task.question for kind in KINDS for task in draw(kind)}
    held_out = {task.question for kind in KINDS for task in draw(kind, held_out=True)}
    assert min(len(training), len(held_out)) > 1500
    assert not training & held_out
    assert not any(map(is_held_out, training)) and all(map(is_held_out, held_out))


def test_another_wording_stays_on_its_side() -> None:
    sides = [[is_held_out(q) for q in (f"What is {n} + 5?", f"Add {n} and 5.")] for n in range(1000)]
    assert all(first == second for first, second in sides)
    assert 1 / 32 < sum(first for first, _ in sides) / 1000 < 1 / 8


def test_draws_repeat_with_the_seed() -> None:
    assert [make_task(random.Random(3)) for _ in range(3)] == [make_task(random.Random(3))] * 3


def test_a_reply_is_right_only_with_the_answer_behind_the_thinking() -> None:
    task = Task("add", "What is 1 + 2?", "1 2\n1+2+0=3 -> 3", "3")
    assert is_right(task, f"{task.thinking}\n</think>\n\n3")
    assert is_right(task, "</think>3\n")
    for wrong in ("4", "33", "3 4", "", "it is 3"):
        assert not is_right(task, f"{task.thinking}\n</think>\n\n{wrong}")
    assert not is_right(task, f"{task.thinking}\n\n3")
    assert not is_right(task, "3")
    assert not is_right(task, "</think>\n\n4</think>\n\n3")


def test_samples_round_trip_and_stay_short(tokenizer: Tokenizer) -> None:
    for kind in KINDS:
        for task in draw(kind):
            sample = chat_sample(tokenizer, task)
            prompt, response = sample.ids[: sample.response_start], sample.ids[sample.response_start :]
            assert prompt == chat_prompt(tokenizer, task.question)
            assert tokenizer.decode(prompt, skip_special_tokens=False) == (
                f"<|im_start|>user\n{task.question}<|im_end|>\n<|im_start|>assistant\n<think>\n"
            )
            reply = tokenizer.decode(response)
            assert reply == f"{task.thinking}\n</think>\n\n{task.answer}" and is_right(task, reply)
            assert response[-1] == tokenizer.token_to_id("<|im_end|>")
            assert response.count(tokenizer.token_to_id("</think>")) == 1
            assert len(sample.ids) <= 200 and len(response) <= 120, task


def test_the_whole_conversation_as_one_text_has_the_same_tokens(tokenizer: Tokenizer) -> None:
    """A server that encodes prompt and reply in one go must not see other tokens than training did."""
    for kind in KINDS:
        task = draw(kind, 1)[0]
        ids = chat_sample(tokenizer, task).ids
        text = tokenizer.decode(ids, skip_special_tokens=False)
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids
