"""What the evaluation's numbers mean."""

import pytest
import torch

from pipo.config import make_config
from pipo.decoding import decode_pairs
from pipo.evaluate import TeacherForced, calibration, choose_threshold, decode_batch, edit_similarity, gate_table
from pipo.modeling import PipoModel


def measured() -> TeacherForced:
    confidence = torch.tensor([0.95, 0.9, 0.6, 0.4, 0.1, 0.05])
    right = torch.tensor([True, True, True, False, False, False])
    return TeacherForced(torch.ones(6), -torch.log(confidence), confidence, right)


def test_a_gate_is_compared_with_a_random_one_of_the_same_rate() -> None:
    rows = {row["threshold"]: row for row in gate_table(measured())}
    assert rows[0.0]["acceptanceRate"] == 1.0 and rows[0.0]["precision"] == 0.5
    assert rows[0.5]["acceptanceRate"] == 0.5 and rows[0.5]["precision"] == 1.0
    assert rows[0.9]["rightDraftsAccepted"] == pytest.approx(2 / 3)
    assert all(row["randomPrecision"] == 0.5 for row in rows.values())
    assert choose_threshold(list(rows.values())) == 0.2  # 3 of 4 accepted drafts are right


def test_a_model_whose_drafts_are_never_good_enough_gets_the_strictest_threshold() -> None:
    bad = TeacherForced(torch.ones(2), torch.ones(2), torch.tensor([0.35, 0.45]), torch.tensor([False, False]))
    rows = gate_table(bad)
    assert rows[-1]["precision"] is None  # nothing accepted
    assert choose_threshold(rows) == 0.9


def test_a_confidence_that_equals_the_probability_is_calibrated() -> None:
    rows, error = calibration(measured())
    assert error == pytest.approx(0.0, abs=1e-6)
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)


def test_edit_similarity() -> None:
    assert edit_similarity("return x", "return x") == 1.0
    assert edit_similarity("", "abcd") == 0.0
    assert edit_similarity("abxd", "abcd") == 0.75


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_batched_decoding_equals_decoding_one_by_one(threshold: float) -> None:
    torch.manual_seed(3)
    config = make_config(
        vocab_size=96, hidden_size=64, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, linear_num_key_heads=1, linear_num_value_heads=2, linear_key_head_dim=32,
        linear_value_head_dim=32, tie_word_embeddings=True, initializer_range=0.5, pad_token_id=90, real_vocab_size=92,
        rope_parameters={"mrope_section": [2, 1, 1]},
    )  # fmt: skip
    model = PipoModel(config, "mlp").eval()
    prompts = [[1, 2, 3, 4, 5], [7, 8, 9], list(range(10, 30))]
    outputs, steps, accepted = decode_batch(model, prompts, threshold, stop=5, max_tokens=8)
    singles = [decode_pairs(model, prompt, threshold, max_steps=8, stop_ids=(5,)) for prompt in prompts]
    for output, single in zip(outputs, singles, strict=True):
        assert output[:8] == [token for token in single.tokens if token != 5][: len(output)][:8]
    assert 0 <= accepted <= steps
    assert (accepted == 0) == (threshold == 1.0)
