"""Incremental, batched decoding gives what decoding from scratch gives."""

import pytest
import torch
from tiny_models import PAD, SHAPE, pair_model, plain_model, random_ids

from pipo.decoding import decode_pairs, decode_plain
from pipo.fast_gdn import fast_gated_deltanet
from pipo.generation import Sampling, generate_pairs, generate_plain

LENGTHS = (9, 2, 1, 31, 150, 14, 8)  # one prompt is longer than a chunk of the gated delta rule


def prompts(lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    return [random_ids(1, length, seed)[0].tolist() for seed, length in enumerate(lengths)]


@pytest.fixture(scope="module")
def model():
    return pair_model()


@pytest.mark.parametrize("rows", [1, 3, 32])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 1.0])
def test_pairs_equal_decoding_from_scratch(model, threshold: float, rows: int) -> None:
    generations = generate_pairs(model, prompts(), threshold, 18, (), rows=rows)
    for prompt, generation in zip(prompts(), generations, strict=True):
        whole = decode_pairs(model, prompt, threshold, 18)
        count = len(generation.slots)
        assert generation.slots == whole.slots[:count]
        assert len(generation.tokens) == 18
        assert generation.accepted == sum(slot != PAD for slot in generation.slots[1::2])
        assert generation.steps == len(generation.confidences) == (count + 1) // 2
        assert generation.confidences[: count // 2] == pytest.approx(whole.confidences[: count // 2], abs=1e-4)


def test_the_gate_of_the_test_model_accepts_and_rejects(model) -> None:
    generations = generate_pairs(model, prompts(), 0.5, 18, ())
    accepted, steps = sum(g.accepted for g in generations), sum(g.steps for g in generations)
    assert 0.1 < accepted / steps < 0.9


def test_a_stop_id_ends_its_row_alone(model) -> None:
    free = generate_pairs(model, prompts(), -1.0, 18, ())
    stops = (free[0].slots[4], free[3].slots[7])  # a first token and a second token
    for prompt, generation in zip(prompts(), generate_pairs(model, prompts(), -1.0, 18, stops), strict=True):
        whole = decode_pairs(model, prompt, -1.0, 18, stops)
        assert generation.slots == whole.slots[: len(generation.slots)]
        assert generation.stopped == (generation.slots[-1] in stops)
        assert generation.stopped or len(generation.tokens) == 18
    assert any(g.stopped and len(g.slots) % 2 for g in generate_pairs(model, prompts(), -1.0, 18, stops))


@pytest.mark.parametrize("rows", [1, 4])
def test_plain_equals_decoding_from_scratch(rows: int) -> None:
    model = plain_model()
    stops = (decode_plain(model, prompts()[1], 12).tokens[5],)
    for prompt, generation in zip(prompts(), generate_plain(model, prompts(), 12, stops, rows=rows), strict=True):
        whole = decode_plain(model, prompt, 12, stops)
        assert (generation.tokens, generation.stopped) == (whole.tokens, whole.stopped)


def test_the_fast_rule_gives_the_same_slots(model) -> None:
    usual = generate_pairs(model, prompts(), 0.5, 18, ())
    with fast_gated_deltanet():
        assert [g.slots for g in generate_pairs(model, prompts(), 0.5, 18, ())] == [g.slots for g in usual]


def test_a_draft_head_without_the_prompt_sees_only_generated_rows(model) -> None:
    prompt = prompts((14,))[0]
    (generation,) = generate_pairs(model, [prompt, prompts((40,))[0]], 0.0, 12, (), draft_sees_prompt=False)[:1]
    ids = [*prompt, *generation.slots]
    with torch.no_grad():
        hidden = model.pair_hidden(torch.tensor([ids]))[:, :-1]
        known, following = hidden[:, 6:], torch.tensor([ids[2::2]])[:, 6:]
        # Rotary attention sees differences of positions only, so rows may be counted from 0 here.
        draft = model.draft_hidden(known, following)
        logits = model.logits(draft)[0, :, : SHAPE["real_vocab_size"]]
        logits[:, PAD] = float("-inf")
        confidences = torch.sigmoid(model.confidence_head(known, draft))[0]
    assert generation.slots[1::2] == logits.argmax(-1).tolist()
    assert generation.confidences == pytest.approx(confidences.tolist(), abs=1e-4)
    assert generation.slots != generate_pairs(model, [prompt], 0.0, 12, ())[0].slots


def test_samples_do_not_depend_on_the_batch_and_follow_the_seed(model) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, top_k=20, presence=0.5, seed=3)
    together = generate_pairs(model, prompts(), 0.5, 12, (), sampling)
    alone = generate_pairs(model, prompts(), 0.5, 12, (), sampling, rows=1)
    assert [g.slots for g in together] == [g.slots for g in alone]
    other = generate_pairs(model, prompts(), 0.5, 12, (), Sampling(temperature=1.0, top_k=20, seed=4))
    assert [g.slots for g in together] != [g.slots for g in other]
    assert not any(PAD in g.slots[0::2] for g in together)


def test_samples_have_the_model_s_cut_off_distribution(model) -> None:
    prompt, count = prompts((14,))[0], 4000
    sampling = Sampling(temperature=0.5, top_p=0.8, top_k=6)
    drawn = torch.tensor([g.slots[0] for g in generate_pairs(model, [prompt] * count, 1.0, 1, (), sampling, rows=1000)])
    with torch.no_grad():
        logits = model.logits(model.pair_hidden(torch.tensor([prompt])))[0, -1, : SHAPE["real_vocab_size"]]
    logits[PAD] = float("-inf")
    values, ids = torch.softmax(logits / 0.5, -1).sort(descending=True)
    kept = ((values.cumsum(0) - values) < 0.8) & (torch.arange(len(values)) < 6)
    expected = torch.zeros_like(values).scatter(0, ids[kept], values[kept] / values[kept].sum())
    shares = torch.bincount(drawn, minlength=len(values)) / count
    assert shares == pytest.approx(expected, abs=0.04)
    assert not (shares[expected == 0] > 0).any()


def test_presence_lowers_tokens_of_the_row_s_own_output(model) -> None:
    greedy = generate_pairs(model, prompts(), -1.0, 18, ())
    assert any(len(set(g.tokens)) < len(g.tokens) for g in greedy)
    never_again = generate_pairs(model, prompts(), -1.0, 18, (), Sampling(presence=1e4))
    assert all(len(set(g.tokens)) == len(g.tokens) for g in never_again)


def test_an_empty_prompt_is_refused(model) -> None:
    with pytest.raises(ValueError, match="empty"):
        generate_pairs(model, [[1, 2], []], 0.5, 4, ())
