"""Bradley-Terry matrices and the two win rates: with the response itself (SPPO) and without it (DNO)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.rewards import bradley_terry_preferences, dno_win_rates, sppo_win_rates


seeds = st.integers(0, 10**6)


def antisymmetric(seed, prompts=4, responses=5, binary=False):
    """Random preferences with P(i, j) + P(j, i) = 1 and 0.5 on the diagonal."""
    upper = torch.rand(
        prompts, responses, responses, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    upper = upper.round() if binary else upper
    lower = (1 - upper.transpose(1, 2)).tril(-1)
    return upper.triu(1) + lower + 0.5 * torch.eye(responses)


@given(seeds, st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_sppo_win_rates_of_consistent_preferences_average_one_half(seed, responses):
    means = sppo_win_rates(antisymmetric(seed, responses=responses)).mean(-1)
    torch.testing.assert_close(means, torch.full_like(means, 0.5))


@given(seeds, st.integers(2, 8))
@settings(max_examples=30, deadline=None)
def test_dno_win_rates_of_binary_judgements_average_one_half(seed, responses):
    means = dno_win_rates(antisymmetric(seed, responses=responses, binary=True)).mean(-1)
    torch.testing.assert_close(means, torch.full_like(means, 0.5))


@given(seeds, st.integers(2, 8))
@settings(max_examples=30, deadline=None)
def test_sppo_includes_the_response_itself_and_dno_does_not(seed, responses):
    matrix = antisymmetric(seed, responses=responses)
    torch.testing.assert_close(
        sppo_win_rates(matrix) * responses, dno_win_rates(matrix) * (responses - 1) + 0.5, check_dtype=False
    )


def test_a_cycle_of_three_leaves_no_response_ahead():
    cycle = [[[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]]
    assert sppo_win_rates(cycle).tolist() == dno_win_rates(cycle).tolist() == [[0.5, 0.5, 0.5]]


def test_a_single_response_wins_half_for_sppo_and_is_refused_by_dno():
    assert sppo_win_rates([[[0.3]]]).tolist() == [[0.5]]
    with pytest.raises(ValueError, match="at least 2 responses"):
        dno_win_rates([[[0.5]]])


@pytest.mark.parametrize("function", [sppo_win_rates, dno_win_rates])
def test_the_diagonal_of_the_input_is_ignored(function):
    matrix = antisymmetric(0)
    other = matrix.masked_fill(torch.eye(5, dtype=torch.bool), 77.0)
    assert torch.equal(function(matrix), function(other))


@pytest.mark.parametrize("function", [sppo_win_rates, dno_win_rates])
def test_a_response_that_was_not_judged_is_left_out_of_the_others_means(function):
    matrix = antisymmetric(1, prompts=1, responses=4)
    failed = matrix.clone()
    failed[0, 2, :] = failed[0, :, 2] = math.nan
    kept = [0, 1, 3]
    rates = function(failed)
    torch.testing.assert_close(rates[0, kept], function(matrix[:, kept][:, :, kept])[0])
    assert rates[0, 2].isnan()


@pytest.mark.parametrize("function", [sppo_win_rates, dno_win_rates])
@pytest.mark.parametrize(
    "preferences, message",
    [
        ([[[0.5, 1.2], [0.1, 0.5]]], r"`preferences` is 1.2 at index \[0, 0, 1\]; valid range: \[0, 1\]"),
        ([[[0.5, 0.9], [-0.2, 0.5]]], r"`preferences` is -0.2 at index \[0, 1, 0\]"),
        ([[0.5, 0.9], [0.1, 0.5]], r"`preferences` has shape \[2, 2\]"),
        ([[[0.5, 0.9, 0.1], [0.1, 0.5, 0.2]]], r"`preferences` has shape \[1, 2, 3\]"),
    ],
)
def test_bad_preferences_are_refused_by_place(function, preferences, message):
    with pytest.raises(ValueError, match=message):
        function(preferences)


def test_win_rates_carry_no_gradient():
    matrix = antisymmetric(2).requires_grad_()
    assert not sppo_win_rates(matrix).requires_grad and not dno_win_rates(matrix).requires_grad


@given(seeds, st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_bradley_terry_is_antisymmetric_transitive_and_ignores_a_constant(seed, constant):
    scores = 3 * torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    matrix = bradley_terry_preferences(scores)
    torch.testing.assert_close(matrix + matrix.transpose(1, 2), torch.ones_like(matrix))
    torch.testing.assert_close(bradley_terry_preferences(scores + constant), matrix)
    torch.testing.assert_close(torch.logit(matrix), scores[:, :, None] - scores[:, None, :])
    assert torch.equal(sppo_win_rates(matrix).argmax(-1), scores.argmax(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_scores_saturate_without_nan(dtype):
    matrix = bradley_terry_preferences(torch.tensor([[900.0, 0.0, -900.0]], dtype=dtype))
    assert matrix.dtype == torch.float32
    assert matrix.tolist() == [[[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]]]


def test_a_response_without_score_is_unjudged_against_every_other():
    matrix = bradley_terry_preferences([[1.0, math.nan, 0.0]])
    assert matrix.isnan().tolist() == [[[False, True, False], [True, False, True], [False, True, False]]]
    assert sppo_win_rates(matrix).isnan().tolist() == [[False, True, False]]


def test_bradley_terry_passes_the_gradient_on():
    scores = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    matrix = bradley_terry_preferences(scores)
    matrix[0, 0, 1].backward()
    slope = (matrix[0, 0, 1] * matrix[0, 1, 0]).item()
    assert scores.grad.tolist() == [[pytest.approx(slope), pytest.approx(-slope)]]


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"`scores` has shape \[2\]"):
        bradley_terry_preferences([0.1, 0.2])
