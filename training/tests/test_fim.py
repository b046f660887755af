"""Samples, pair alignment and PAD insertion."""

import random
from functools import partial

import pytest
import torch
from tokenizers import Tokenizer

from pipo.batches import (
    RESPONSE_WEIGHT,
    FilePicker,
    Mixture,
    TextFile,
    build_row,
    insert_pads,
    pair_pieces,
    pair_source,
    plain_pieces,
)
from pipo.config import make_config
from pipo.fast_loss import weighted_nll
from pipo.fim import Sample, Sampler, SpecialIds, block_end, choose_cut
from pipo.losses import sft_losses
from pipo.modeling import PipoModel
from pipo.pair_losses import pair_losses
from pipo.tokenizer import train

SOURCE = '''def area(width, height):
    """Naïve area – in square metres."""
    if width < 0:
        raise ValueError("width")
    return width * height


class Shape:
    def __init__(self, name):
        self.name = name
'''


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(iter([SOURCE] * 4))


@pytest.fixture(scope="module")
def sampler(tokenizer: Tokenizer) -> Sampler:
    return Sampler(tokenizer, max_tokens=256)


def test_tokenizer_is_lossless_and_keeps_a_line_break_with_its_indentation(tokenizer: Tokenizer) -> None:
    for text in (SOURCE, "\t\tif (a) {\r\n\t}\r\n", "x  = 12345  # ünïcode 漢字 🙂\n\n\n", "<think>"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    tokens = [tokenizer.decode([i]) for i in tokenizer.encode("a:\n    b = 42").ids]
    assert "\n    " in tokens
    assert tokens[-2:] == ["4", "2"]


def test_a_cut_at_any_character_rebuilds_the_file(sampler: Sampler) -> None:
    s = sampler.special
    for seed in range(60):
        sample = sampler.fill_in_the_middle("shapes.py", SOURCE, random.Random(seed), 256)
        assert sample.ids[0] == s.suffix
        assert sample.ids[-1] == s.end
        header = sample.ids.index(s.prefix) + 1
        assert sample.ids[header] == s.file
        suffix = sampler.tokenizer.decode(sample.ids[1 : header - 1], skip_special_tokens=False)
        rest = sampler.tokenizer.decode(sample.ids[header + 1 : sample.response_start], skip_special_tokens=False)
        middle = sampler.tokenizer.decode(sample.ids[sample.response_start : -1], skip_special_tokens=False)
        name, prefix = rest.split("\n", 1)
        assert name == "shapes.py"
        assert SOURCE.startswith(prefix + middle)
        assert SOURCE[len(prefix + middle) :].startswith(suffix)


def test_cuts_stay_inside_the_text_and_are_mostly_short() -> None:
    cuts = [choose_cut(SOURCE, random.Random(seed)) for seed in range(300)]
    assert all(0 <= c.start <= c.end <= len(SOURCE) for c in cuts)
    single_line = sum("\n" not in SOURCE[c.start : c.end] for c in cuts)
    assert 0.5 < single_line / len(cuts) < 0.95


def test_block_ends_before_dedent_or_blank_line() -> None:
    position = SOURCE.index("if width")
    assert SOURCE[position : block_end(SOURCE, position, 8)].endswith("return width * height")
    assert SOURCE[position : block_end(SOURCE, position, 2)].endswith('raise ValueError("width")')


def test_broken_text_has_more_tokens_and_the_same_characters(sampler: Sampler) -> None:
    whole, broken = sampler.encode(SOURCE), sampler.encode_broken(SOURCE, random.Random(2))
    assert len(broken) > len(whole)
    assert sampler.tokenizer.decode(broken) == SOURCE


def test_prompt_keeps_the_text_around_the_cursor_within_budget(sampler: Sampler) -> None:
    prompt = sampler.prompt("a.py", "first = 1\n" * 500 + "last_line", "after_it()\n" * 500, 100, 30)
    assert len(prompt) == 100
    text = sampler.tokenizer.decode(prompt, skip_special_tokens=False)
    assert text.endswith("last_line")
    assert text.startswith("<|fim_suffix|>after_it()")


@pytest.mark.parametrize("prompt_length", [6, 7])
def test_response_starts_on_a_pair_border(prompt_length: int) -> None:
    sample = Sample(list(range(100, 100 + prompt_length)) + [7, 8, 9, 10, 11], prompt_length)
    ids, weights = pair_pieces(sample, answered=True, source=random.Random(1), pad=0, max_ratio=0.0)
    assert len(ids) == len(weights) and len(ids) % 2 == 0
    assert ids.index(7) % 2 == 0
    assert [i for i in ids if i] == sample.ids
    assert all(w == 0 for i, w in zip(ids, weights, strict=False) if i == 0)
    assert weights[:2] == [0.0, 0.0]
    assert (ids[prompt_length] == 0) == (prompt_length % 2 == 1)


def test_pads_only_ever_stand_in_second_places_and_split_the_asked_share() -> None:
    ids, weights = list(range(1, 41)), [0.0, 0.0] + [1.0] * 38
    out, out_weights = insert_pads(ids, weights, 20, pad=0, ratio=0.5, source=random.Random(3))
    assert [i for i in out if i] == ids
    assert out[:20] == ids[:20]
    pads = [position for position, i in enumerate(out) if i == 0]
    assert all(position % 2 == 1 and out_weights[position] == 0 for position in pads)
    assert len(pads) == 2 * 5  # 10 candidate pairs from index 20 on, half of them split in two
    assert sum(out_weights) == sum(weights)


def test_at_least_one_pair_is_split_where_there_is_one() -> None:
    assert insert_pads([1, 2, 3, 4], [0, 0, 1, 1], 0, 9, 0.0, random.Random(0))[0] == [1, 2, 3, 9, 4, 9]
    assert insert_pads([1, 2], [0, 0], 0, 9, 0.5, random.Random(0))[0] == [1, 2]


def test_rows_have_the_exact_length_and_pair_rows_start_samples_on_pair_borders(sampler: Sampler) -> None:
    picker = FilePicker([TextFile("shapes.py", "python", "shapes", SOURCE)])
    pad = sampler.special.pad
    starts = {sampler.special.suffix, sampler.special.file}
    for seed in range(10):
        pieces = partial(pair_pieces, pad=pad, max_ratio=0.5)
        ids, weights = build_row(picker, sampler, 512, Mixture(0.6), pieces, random.Random(seed))
        assert len(ids) == len(weights) == 512
        assert ids[0] in starts
        assert all(weights[i] == 0 for i, token in enumerate(ids) if token == pad)
        assert all(token != pad for token in ids[0:400:2])
        assert all(i % 2 == 0 for i, token in enumerate(ids) if token == sampler.special.suffix)


def test_plain_pieces_never_predict_the_first_token() -> None:
    ids, weights = plain_pieces(Sample([5, 6, 7, 8], 2), answered=True)
    assert ids == [5, 6, 7, 8]
    assert weights == [0.0, 1.0, RESPONSE_WEIGHT, RESPONSE_WEIGHT]


def test_batches_repeat_for_the_same_step(sampler: Sampler) -> None:
    files = [TextFile("shapes.py", "python", "shapes", SOURCE)]
    first, again = (pair_source(files, sampler, 2, 128, Mixture(0.6), 0.5, seed=4)[7] for _ in range(2))
    assert torch.equal(first.ids, again.ids) and torch.equal(first.weights, again.weights)
    other = pair_source(files, sampler, 2, 128, Mixture(0.6), 0.5, seed=4)[8]
    assert not torch.equal(first.ids, other.ids)


def test_fused_loss_equals_cross_entropy_with_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(64, 32, generator=generator).bfloat16().float().requires_grad_()
    matrix = torch.randn(96, 32, generator=generator).bfloat16().float().mul(0.125).requires_grad_()
    targets = torch.randint(0, 96, (64,), generator=generator)
    weights = torch.rand(64, generator=generator) / 64
    loss, nll = weighted_nll(rows, matrix, targets, weights, rows_per_chunk=32)
    loss.backward()
    actual = rows.grad.clone(), matrix.grad.clone()
    rows.grad = matrix.grad = None
    expected = torch.nn.functional.cross_entropy(rows @ matrix.t(), targets, reduction="none")
    (expected * weights).sum().backward()
    torch.testing.assert_close(nll, expected, atol=0.03, rtol=0.01)
    for found, wanted in zip(actual, (rows.grad, matrix.grad), strict=False):
        assert (found - wanted).norm() < 0.02 * wanted.norm()


def test_fast_pair_losses_equal_the_plain_definition(sampler: Sampler) -> None:
    torch.manual_seed(0)
    config = make_config(
        vocab_size=sampler.tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, linear_num_key_heads=1, linear_num_value_heads=2,
        linear_key_head_dim=32, linear_value_head_dim=32, tie_word_embeddings=True, initializer_range=0.3,
        pad_token_id=SpecialIds.of(sampler.tokenizer).pad, rope_parameters={"mrope_section": [2, 1, 1]},
    )  # fmt: skip
    model = PipoModel(config, "mlp")
    batch = pair_source([TextFile("shapes.py", "python", "shapes", SOURCE)], sampler, 2, 512, Mixture(0.0), 0.5, 5)[0]
    fast = pair_losses(model, batch)
    labels = batch.ids.masked_fill(batch.weights == 0, -100)
    plain = sft_losses(model, batch.ids, labels)
    for name in ("first", "second", "confidence"):
        torch.testing.assert_close(fast[name], getattr(plain, name), atol=0.02, rtol=0.02)
