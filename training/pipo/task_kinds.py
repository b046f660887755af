"""The kinds of generated tasks: how each is drawn, asked, thought through and answered.

Every kind has one fixed way of thinking: an algorithm written out so far that each piece follows from what stands
just before it. It suits the bundled tokenizer, where each digit is a token: a word is spelled `1k2o3b`, two tokens a
letter, and the number before a letter is what later steps find it by. Numbers are worked through from the ones; a line
ends with the digits of the result known so far, so that the last line ends with the answer.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"
COMMON_WORDS = (
    "array", "buffer", "cache", "client", "code", "count", "data", "error", "event", "field", "file", "index", "input",
    "item", "label", "line", "list", "model", "name", "node", "number", "object", "option", "order", "output", "parse",
    "path", "query", "reader", "result", "route", "score", "state", "string", "table", "text", "title", "token",
    "total", "user", "value", "version", "width", "window", "word", "writer",
)  # fmt: skip
VARIABLES = ("a", "b", "x", "y", "n", "total", "count", "value", "size", "score")


@dataclass(frozen=True)
class Draft:
    """A task before its kind is named."""

    question: str
    thinking: str
    answer: str


def draft(question: str, steps: Sequence[str], answer: object) -> Draft:
    return Draft(question, "\n".join(steps), str(answer))


# Pieces that several kinds share


def make_word(source: random.Random, syllables: int = 3) -> str:
    """A pronounceable word of up to `syllables` syllables, or a common identifier where those are three."""
    if syllables == 3 and source.random() < 0.3:
        return source.choice(COMMON_WORDS)
    length = source.randint(min(2, syllables), syllables)
    word = "".join(source.choice(CONSONANTS) + source.choice(VOWELS) for _ in range(length))
    return word + (source.choice(CONSONANTS) if source.random() < 0.4 else "")


def make_number(source: random.Random, most_digits: int) -> int:
    """A number of 1 to `most_digits` digits; the longest are the rarest."""
    digits = min(source.randint(1, most_digits), source.randint(1, most_digits + 1))
    return source.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def make_list(source: random.Random, shortest: int, longest: int) -> list[int]:
    """Numbers of one digit, or of up to two where the list has at most four."""
    length = source.randint(shortest, longest)
    limit = 100 if length <= 4 and source.random() < 0.5 else 10
    return [source.randrange(limit) for _ in range(length)]


def spell(letters: str, start: int = 1) -> str:
    return "".join(f"{start + i}{letter}" for i, letter in enumerate(letters))


def numbered(values: Sequence[int], start: int = 0) -> str:
    return " ".join(f"{start + i}:{value}" for i, value in enumerate(values))


def ask(source: random.Random, *wordings: str) -> str:
    return source.choice(wordings)


# Arithmetic


def columns(*numbers: int) -> tuple[str, list[tuple[int, ...]]]:
    """The numbers written from the ones, padded to one width, and their columns."""
    width = max(len(str(number)) for number in numbers)
    backwards = [str(number).zfill(width)[::-1] for number in numbers]
    return " ".join(backwards), [tuple(int(digit) for digit in column) for column in zip(*backwards, strict=True)]


def add(source: random.Random) -> Draft:
    left, right = make_number(source, 4), make_number(source, 4)
    first, pairs = columns(left, right)
    steps, known, carry = [first], "", 0
    for place, (a, b) in enumerate(pairs):
        total = a + b + carry
        known = (str(total) if place == len(pairs) - 1 else str(total % 10)) + known
        steps.append(f"{a}+{b}+{carry}={total} -> {known}")
        carry = total // 10
    sums = f"{left} + {right}"
    return draft(ask(source, f"What is {sums}?", f"Compute {sums}.", f"Add {left} and {right}."), steps, left + right)


def subtract(source: random.Random) -> Draft:
    right, left = sorted((make_number(source, 4), make_number(source, 4)))
    first, pairs = columns(left, right)
    steps, known, borrow = [first], "", 0
    for a, b in pairs:
        raised = a + 10 if a < b + borrow else a
        known = str(raised - b - borrow) + known
        steps.append(f"{raised}-{b}-{borrow}={raised - b - borrow} -> {known}")
        borrow = int(raised > a)
    minus = f"{left} - {right}"
    wordings = (f"What is {minus}?", f"Compute {minus}.", f"Subtract {right} from {left}.")
    return draft(ask(source, *wordings), steps, left - right)


def multiply(source: random.Random) -> Draft:
    number, factor = make_number(source, 3), source.randint(2, 9)
    first, digits = columns(number)
    steps, known, carry = [first], "", 0
    for place, (digit,) in enumerate(digits):
        product = digit * factor + carry
        known = (str(product) if place == len(digits) - 1 else str(product % 10)) + known
        steps.append(f"{digit}*{factor}+{carry}={product} -> {known}")
        carry = product // 10
    times = f"{number} * {factor}"
    wordings = (f"What is {times}?", f"Compute {times}.", f"Multiply {number} by {factor}.")
    return draft(ask(source, *wordings), steps, number * factor)


def compare(source: random.Random) -> Draft:
    left = right = make_number(source, 4)
    while right == left:
        kept = source.randint(0, len(str(left)) - 1)  # a common start makes the later digits matter
        rest = "".join(str(source.randrange(10)) for _ in str(left)[kept:])
        right = int(str(left)[:kept] + rest) if source.random() < 0.6 else make_number(source, 4)
    steps = [f"{len(str(left))} digits, {len(str(right))} digits"]
    if len(str(left)) == len(str(right)):
        for a, b in zip(str(left), str(right), strict=True):
            steps.append(f"{a}{sign(int(a), int(b))}{b}")
            if a != b:
                break
    steps.append(f"{left} {sign(left, right)} {right}")
    name, answer = source.choice((("larger", max(left, right)), ("smaller", min(left, right))))
    wordings = (f"Which number is {name}, {left} or {right}?", f"Which is {name}: {left} or {right}?")
    return draft(ask(source, *wordings), steps, answer)


def sign(a: int, b: int) -> str:
    return "<" if a < b else ">" if a > b else "="


# Lists


def list_sum(source: random.Random) -> Draft:
    values = [source.randint(0, 9) for _ in range(source.randint(2, 6))]
    steps, total = [str(values[0])], values[0]
    for value in values[1:]:
        steps.append(f"{total}+{value}={total + value}")
        total += value
    wordings = (f"What is the sum of {values}?", f"Add up the numbers in {values}.", f"Sum the list {values}.")
    return draft(ask(source, *wordings), steps, total)


def list_extreme(source: random.Random) -> Draft:
    values = make_list(source, 2, 6)
    name, better = source.choice((("largest", max), ("smallest", min)))
    steps, best = [str(values[0])], values[0]
    for value in values[1:]:
        relation = f"{value}{sign(value, best)}{best}"
        best = better(value, best)
        steps.append(f"{relation} -> {best}")
    wordings = (f"What is the {name} number in {values}?", f"Find the {name} value of {values}.")
    return draft(ask(source, *wordings), steps, best)


def list_sort(source: random.Random) -> Draft:
    values = make_list(source, 3, 5)
    steps, left = [], list(values)
    while left:
        steps.append(f"{','.join(map(str, left))} -> {min(left)}")
        left.remove(min(left))
    wordings = (f"Sort {values}.", f"Sort the list {values} from small to large.", f"Put {values} in ascending order.")
    return draft(ask(source, *wordings), steps, sorted(values))


def list_reverse(source: random.Random) -> Draft:
    values = make_list(source, 3, 5)
    steps = [",".join(map(str, values[:end][::-1])) for end in range(1, len(values) + 1)]
    wordings = (f"Reverse {values}.", f"Reverse the list {values}.", f"What is {values} in reverse order?")
    return draft(ask(source, *wordings), steps, values[::-1])


def list_element(source: random.Random) -> Draft:
    values = make_list(source, 3, 6)
    index = source.randrange(len(values))
    wordings = (
        f"Counting from 0, which element of {values} has index {index}?",
        f"What is at index {index} of the list {values}? The first index is 0.",
    )
    return draft(ask(source, *wordings), [numbered(values[: index + 1])], values[index])


def list_count(source: random.Random) -> Draft:
    kinds = source.sample(range(10), source.randint(2, 3))
    values = [source.choice(kinds) for _ in range(source.randint(3, 6))]
    wanted = source.choice(kinds)
    steps = []
    for end, value in enumerate(values, 1):
        steps.append(f"{value} {'yes' if value == wanted else 'no'} {values[:end].count(wanted)}")
    wordings = (f"How many times does {wanted} occur in {values}?", f"Count how often {wanted} is in {values}.")
    return draft(ask(source, *wordings), steps, values.count(wanted))


# Strings


def string_reverse(source: random.Random) -> Draft:
    word = make_word(source)
    backwards = "".join(f"{place}{word[place - 1]}" for place in range(len(word), 0, -1))
    wordings = (f'Reverse the string "{word}".', f'Spell "{word}" backwards.', f'What is "{word}" reversed?')
    return draft(ask(source, *wordings), [spell(word), backwards], word[::-1])


def string_count(source: random.Random) -> Draft:
    word = make_word(source)
    wanted = source.choice(word) if source.random() < 0.9 else source.choice(CONSONANTS)
    steps = ["".join(f"{letter}{word[: end + 1].count(wanted)}" for end, letter in enumerate(word))]
    wordings = (f'How many times does "{wanted}" occur in "{word}"?', f'Count the letter "{wanted}" in "{word}".')
    return draft(ask(source, *wordings), steps, word.count(wanted))


def string_upper(source: random.Random) -> Draft:
    word = make_word(source)
    wordings = (f'Write "{word}" in upper case.', f'Convert "{word}" to upper case.', f'Make "{word}" upper case.')
    return draft(ask(source, *wordings), [spell(word), spell(word.upper())], word.upper())


def string_ends(source: random.Random) -> Draft:
    word = make_word(source)
    count = source.randint(2, min(4, len(word) - 1))
    if source.random() < 0.5:
        side, steps, answer = "first", [spell(word[:count])], word[:count]
    else:
        start = len(word) - count
        side, steps, answer = "last", [spell(word), spell(word[start:], start + 1)], word[start:]
    wordings = (f'What are the {side} {count} letters of "{word}"?', f'Give the {side} {count} letters of "{word}".')
    return draft(ask(source, *wordings), steps, answer)


def string_join(source: random.Random) -> Draft:
    word = make_word(source)
    wordings = (f'Join the letters of "{word}" with dashes.', f'Put a dash between the letters of "{word}".')
    return draft(ask(source, *wordings), [spell(word)], "-".join(word))


# Code


def what_it_prints(source: random.Random, python: Sequence[str], typescript: Sequence[str]) -> str:
    """The question about one of two programs that print the same."""
    language, lines = source.choice((("Python", python), ("TypeScript", typescript)))
    wording = ask(source, f"What does this {language} code print?", f"What is the output of this {language} program?")
    return "\n".join([wording, *lines])


def code_expression(source: random.Random) -> Draft:
    a, b, c = source.randint(1, 9), source.randint(2, 9), source.randint(2, 9)
    language, form = source.choice(("Python", "TypeScript")), source.randrange(5)
    if form == 0:
        text, steps, value = f"{a} + {b} * {c}", [f"{b}*{c}={b * c}", f"{a}+{b * c}={a + b * c}"], a + b * c
    elif form == 1:
        a, b = min(a, 7), min(b, 9 - min(a, 7))  # a sum of one digit, so that times tables are enough
        text, steps, value = f"({a} + {b}) * {c}", [f"{a}+{b}={a + b}", f"{a + b}*{c}={(a + b) * c}"], (a + b) * c
    elif form == 2:
        a = min(a, b * c)
        text, steps, value = f"{b} * {c} - {a}", [f"{b}*{c}={b * c}", f"{b * c}-{a}={b * c - a}"], b * c - a
    else:
        whole = a * b + source.randrange(b)
        steps = [f"{b}*{a}={a * b}", f"{whole}-{a * b}={whole % b}"]
        if form == 3:
            text, value = f"{whole} % {b}", whole % b
        else:
            text, value = f"{whole} // {b}" if language == "Python" else f"Math.floor({whole} / {b})", a
    return draft(f"What is the value of this {language} expression?\n{text}", steps, value)


def code_assign(source: random.Random) -> Draft:
    first, second = source.sample(VARIABLES, 2)
    state = {first: source.randint(1, 9)}
    python, steps = [f"{first} = {state[first]}"], [f"{first}={state[first]}"]
    typescript = [f"let {first} = {state[first]};"]
    for _ in range(source.randint(1, 3)):
        target, other = source.choice(tuple(state)), source.choice(tuple(state))
        symbol, compute = source.choice((("+", operator.add), ("-", operator.sub)))
        uses_number = other == target or source.random() < 0.6
        amount = source.randint(1, 9) if uses_number else state[other]
        if compute(state[target], amount) < 0:
            symbol, compute = "+", operator.add
        written = amount if uses_number else other
        if second not in state and source.random() < 0.4:
            line, name = f"{second} = {target} {symbol} {written}", second
            typescript.append(f"let {line};")
        else:
            line, name = f"{target} {symbol}= {written}", target
            typescript.append(f"{line};")
        python.append(line)
        value = compute(state[target], amount)
        steps.append(f"{name}={state[target]}{symbol}{amount}={value}")
        state[name] = value
    printed = source.choice(tuple(state))
    python.append(f"print({printed})")
    typescript.append(f"console.log({printed});")
    return draft(what_it_prints(source, python, typescript), [*steps, f"{printed}={state[printed]}"], state[printed])


def code_loop(source: random.Random) -> Draft:
    name, total = source.choice(VARIABLES[5:]), source.randint(0, 9)
    if source.random() < 0.5:
        values = list(range(source.randint(2, 5)))
        loops = f"for i in range({len(values)}):", f"for (let i = 0; i < {len(values)}; i++) {{"
    else:
        values = [source.randint(0, 9) for _ in range(source.randint(2, 4))]
        loops = f"for i in {values}:", f"for (const i of {values}) {{"
    constant = source.randint(1, 5) if source.random() < 0.3 else None
    added = "i" if constant is None else str(constant)
    start = f"{name} = {total}"
    python = [start, loops[0], f"    {name} += {added}", f"print({name})"]
    typescript = [f"let {start};", loops[1], f"    {name} += {added};", "}", f"console.log({name});"]
    steps = [f"{name}={total}"]
    for value in values:
        amount = value if constant is None else constant
        steps.append(f"i={value} {name}={total}+{amount}={total + amount}")
        total += amount
    return draft(what_it_prints(source, python, typescript), steps, total)


def code_index(source: random.Random) -> Draft:
    values, name = make_list(source, 3, 5), source.choice(("values", "items", "numbers", "data"))
    index, form = source.randrange(len(values)), source.randrange(4)
    if form == 0:
        shown, answer, steps = (f"len({name})", f"{name}.length"), len(values), [numbered(values, 1)]
    elif form == 1:
        back = len(values) - index
        shown, answer = (f"{name}[-{back}]", f"{name}[{name}.length - {back}]"), values[index]
        steps = [numbered(values), f"{len(values)}-{back}={index}"]
    else:
        shown, answer, steps = (f"{name}[{index}]",) * 2, values[index], [numbered(values[: index + 1])]
    python = [f"{name} = {values}", f"print({shown[0]})"]
    typescript = [f"const {name} = {values};", f"console.log({shown[1]});"]
    return draft(what_it_prints(source, python, typescript), steps, answer)


def code_slice(source: random.Random) -> Draft:
    word, name = make_word(source), source.choice(("word", "name", "text", "s"))
    start, end = sorted(source.sample(range(len(word) + 1), 2))
    written = f"{start or ''}:{end if end < len(word) else ''}"
    arguments = f"{start}, {end}" if end < len(word) else str(start)
    python = [f'{name} = "{word}"', f"print({name}[{written}])"]
    typescript = [f'const {name} = "{word}";', f"console.log({name}.slice({arguments}));"]
    steps = [spell(word, 0), spell(word[start:end], start)]
    return draft(what_it_prints(source, python, typescript), steps, word[start:end])


def code_branch(source: random.Random) -> Draft:
    name, value, limit = source.choice(VARIABLES), source.randrange(20), source.randrange(20)
    if source.random() < 0.3:
        limit = value
    symbol, holds = source.choice((("<", operator.lt), (">", operator.gt), ("==", operator.eq), ("!=", operator.ne)))
    yes, no = make_word(source, 2), make_word(source, 2)
    first = f"{name} = {value}"
    python = [first, f"if {name} {symbol} {limit}:", f'    print("{yes}")', "else:", f'    print("{no}")']
    strict = symbol + "=" if "=" in symbol else symbol
    typescript = [f"let {first};", f"if ({name} {strict} {limit}) {{", f'    console.log("{yes}");', "} else {"]
    typescript += [f'    console.log("{no}");', "}"]
    outcome = holds(value, limit)
    steps = [f"{name}={value}", f"{value}{sign(value, limit)}{limit}", f"{symbol} {'yes' if outcome else 'no'}"]
    return draft(what_it_prints(source, python, typescript), steps, yes if outcome else no)


def code_concat(source: random.Random) -> Draft:
    a, b = source.sample(VARIABLES[:5], 2)
    words = {a: make_word(source, 2), b: make_word(source, 2)}
    if source.random() < 0.7:
        left, right = source.sample((a, b), 2)
        parts, shown = [words[left], words[right]], (f"{left} + {right}", f"{left} + {right}")
    else:
        times, words = source.randint(2, 3), {a: words[a][:3]}
        parts, shown = [words[a]] * times, (f"{a} * {times}", f"{a}.repeat({times})")
    python = [f'{name} = "{word}"' for name, word in words.items()]
    typescript = [f"const {line};" for line in python]
    steps = [spell(part, 1 + len("".join(parts[:i]))) for i, part in enumerate(parts)]
    question = what_it_prints(source, [*python, f"print({shown[0]})"], [*typescript, f"console.log({shown[1]});"])
    return draft(question, steps, "".join(parts))


MAKERS: dict[str, tuple[Callable[[random.Random], Draft], ...]] = {
    "arithmetic": (add, subtract, multiply, compare),
    "list": (list_sum, list_extreme, list_sort, list_reverse, list_element, list_count),
    "string": (string_reverse, string_count, string_upper, string_ends, string_join),
    "code": (code_expression, code_assign, code_loop, code_index, code_slice, code_branch, code_concat),
}
