"""CGPO's calibrated reward, its three optimisers' choices, and the judges' verdicts that failed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.objectives.advantages import cgpo_advantages
from alignkit.objectives.preference import cgpo_codpo_loss, dpo_loss
from alignkit.objectives.rewards import cgpo_constrained_reward
from alignkit.objectives.sampling import cgpo_codpo_pairs, cgpo_crraft_select


seeds = st.integers(0, 10**6)
few = settings(max_examples=25, deadline=None)
GENERATIONS = 4


class Batch:
    """12 completions of 3 prompts: rewards, baseline rewards, verdicts of 2 judges, log-probabilities."""

    def __init__(self, seed, missing=0.0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        def holes(table):
            return torch.where(torch.rand(table.shape, generator=generator) < missing, torch.nan, table)

        # Rounded, so that there are ties, and often all negative.
        self.rewards = holes((normal(12) * 2).round() / 2 - 1)
        self.baselines = normal(3).repeat_interleave(GENERATIONS)
        self.satisfied = holes((torch.rand(12, 2, generator=generator) < 0.7).double())
        self.ref_logps = -20 + normal(12)
        self.logps = self.ref_logps + 2 * normal(12)

    def verdicts(self):
        """Per row: "violated", "unknown" or "satisfied"."""
        rows = self.satisfied.tolist()
        return ["violated" if 0.0 in row else "satisfied" if row == [1.0, 1.0] else "unknown" for row in rows]

    def groups(self):
        return [range(start, start + GENERATIONS) for start in range(0, 12, GENERATIONS)]


@given(seeds)
@few
def test_the_reward_is_a_probability_and_zero_exactly_where_a_judge_is_violated(seed):
    batch = Batch(seed)
    result = cgpo_constrained_reward(batch.rewards, batch.baselines, batch.satisfied)
    violated = torch.tensor([verdict == "violated" for verdict in batch.verdicts()])
    assert (result[violated] == 0).all()
    torch.testing.assert_close(result[~violated], (batch.rewards - batch.baselines).sigmoid()[~violated])


@given(seeds)
@few
def test_a_constant_per_prompt_on_both_rewards_changes_nothing(seed):
    batch = Batch(seed)
    shift = torch.tensor([3.0, -7.0, 0.5]).double().repeat_interleave(GENERATIONS)
    torch.testing.assert_close(
        cgpo_constrained_reward(batch.rewards + shift, batch.baselines + shift, batch.satisfied),
        cgpo_constrained_reward(batch.rewards, batch.baselines, batch.satisfied),
    )


def test_as_good_as_the_baseline_is_one_half():
    assert cgpo_constrained_reward([-3.0, 5.0], [-3.0, 5.0], [True, False]).tolist() == [0.5, 0.0]


def test_a_failed_judge_leaves_the_completion_unknown_unless_another_finds_a_violation():
    satisfied = [[1.0, math.nan], [0.0, math.nan], [1.0, 1.0], [math.nan, math.nan]]
    result = cgpo_constrained_reward([0.0] * 4, [0.0] * 4, satisfied)
    torch.testing.assert_close(result, torch.tensor([math.nan, 0.0, 0.5, math.nan]).double(), equal_nan=True)


@given(seeds)
@few
def test_satisfied_and_at_the_reference_the_advantage_is_the_centred_reward(seed):
    batch = Batch(seed)
    args = (batch.rewards, GENERATIONS, batch.baselines, [True] * 12, batch.ref_logps, batch.ref_logps, 5.0)
    calibrated = (batch.rewards - batch.baselines).sigmoid()
    advantages = cgpo_advantages(*args)
    torch.testing.assert_close(advantages, calibrated - calibrated.mean())
    assert advantages.sum().item() == pytest.approx(0, abs=1e-12)
    groups = calibrated.view(3, 4)
    expected = (groups - groups.mean(dim=1, keepdim=True)).flatten()
    torch.testing.assert_close(cgpo_advantages(*args, baseline="group"), expected)


@given(seeds, st.sampled_from(["batch", "group"]))
@few
def test_nothing_satisfied_gives_no_advantage(seed, baseline):
    batch = Batch(seed)
    args = (batch.rewards, GENERATIONS, batch.baselines, [False] * 12, batch.logps, batch.ref_logps, 5.0)
    assert (cgpo_advantages(*args, baseline=baseline) == 0).all()


@given(seeds, st.floats(0.1, 3))
@few
def test_far_from_the_reference_counts_as_violated_and_nearer_than_it_counts_more(seed, kl_max):
    batch = Batch(seed)
    args = (batch.rewards, GENERATIONS, batch.baselines)
    far = batch.logps - batch.ref_logps >= kl_max
    satisfied = batch.satisfied.all(dim=1)
    near = cgpo_advantages(*args, satisfied, batch.logps, batch.ref_logps, kl_max)
    torch.testing.assert_close(near, cgpo_advantages(*args, satisfied & ~far, batch.logps, batch.ref_logps, kl_max))
    factor = (1 - (batch.logps - batch.ref_logps) / kl_max).clamp(min=0)
    regularised = torch.where(satisfied, (batch.rewards - batch.baselines).sigmoid(), 0.0) * factor
    torch.testing.assert_close(near, regularised - regularised.mean())


@given(seeds, st.sampled_from(["batch", "group"]))
@few
def test_rows_without_reward_or_verdict_have_no_advantage_and_do_not_count_in_the_mean(seed, baseline):
    batch = Batch(seed, missing=0.2)
    batch.baselines[3] = math.nan
    args = (batch.baselines, batch.satisfied, batch.logps, batch.ref_logps, 5.0, baseline)
    advantages = cgpo_advantages(batch.rewards, GENERATIONS, *args)
    unknown = torch.tensor([verdict == "unknown" for verdict in batch.verdicts()])
    missing = batch.rewards.isnan() | batch.baselines.isnan() | unknown
    assert advantages.isfinite().all() and (advantages[missing] == 0).all()
    sums = advantages.view(3, 4).sum(dim=1) if baseline == "group" else advantages.sum()
    assert (sums.abs() < 1e-12).all()


def test_the_advantages_have_no_gradient():
    values = [torch.zeros(2, requires_grad=True) for _ in range(4)]
    assert not cgpo_advantages(values[0], 1, values[1], [True, True], values[2], values[3], 1.0).requires_grad


@given(seeds, st.sampled_from([0.0, 0.25]))
@few
def test_pairs_are_the_best_satisfied_against_the_worst_violated_or_the_worst_of_all(seed, missing):
    batch = Batch(seed, missing)
    rewards, verdicts = batch.rewards.tolist(), batch.verdicts()
    pairs = cgpo_codpo_pairs(batch.rewards, batch.satisfied, GENERATIONS)
    for group, chosen, rejected, valid in zip(batch.groups(), *(field.tolist() for field in pairs), strict=True):
        scored = [row for row in group if not math.isnan(rewards[row])]
        good = [row for row in scored if verdicts[row] == "satisfied"]
        bad = [row for row in scored if verdicts[row] == "violated"] or good
        best = max(good, key=lambda row: rewards[row], default=-1)
        worst = min(bad, key=lambda row: rewards[row], default=-1)
        expected = (best, worst, True) if good and best != worst else (-1, -1, False)
        assert (chosen, rejected, valid) == expected


def test_a_violated_completion_is_never_chosen_although_all_rewards_are_negative():
    pairs = cgpo_codpo_pairs([-0.1, -3.0, -2.0, -5.0], [False, True, True, False], 4)
    assert (pairs.chosen.item(), pairs.rejected.item(), pairs.valid.item()) == (2, 3, True)


def test_equal_rewards_make_a_pair_only_across_the_constraint():
    assert cgpo_codpo_pairs([1.0, 1.0], [True, True], 2).valid.tolist() == [False]
    pairs = cgpo_codpo_pairs([1.0, 1.0], [False, True], 2)
    assert (pairs.chosen.item(), pairs.rejected.item(), pairs.valid.item()) == (1, 0, True)


def test_one_completion_or_none_satisfied_gives_no_pair():
    assert cgpo_codpo_pairs([1.0, 2.0], [True, True], 1).valid.tolist() == [False, False]
    pairs = cgpo_codpo_pairs([1.0, 2.0], [False, False], 2)
    assert (pairs.chosen.item(), pairs.rejected.item(), pairs.valid.item()) == (-1, -1, False)


@given(seeds, st.floats(0.02, 1))
@few
def test_without_likelihood_term_codpo_is_dpo_and_with_it_the_chosen_is_pulled_up_per_token(gradient_of, seed, beta):
    generator = torch.Generator().manual_seed(seed)
    logps = [-20 * torch.rand(6, generator=generator, dtype=torch.float64) for _ in range(4)]
    lengths = torch.arange(1, 7)
    torch.testing.assert_close(cgpo_codpo_loss(*logps, lengths, beta, lam=0.0), dpo_loss(*logps, beta))
    (grad,) = gradient_of(lambda x: cgpo_codpo_loss(x, *logps[1:], lengths, beta, lam=2.0), logps[0])
    (plain,) = gradient_of(lambda x: dpo_loss(x, *logps[1:], beta), logps[0])
    torch.testing.assert_close(grad, plain - 2.0 / lengths)


@given(seeds, st.sampled_from([0.0, 0.25]), st.floats(0.1, 4))
@few
def test_the_selected_completion_is_the_best_that_satisfies_judges_and_limit(seed, missing, kl_max):
    batch = Batch(seed, missing)
    rewards, verdicts = batch.rewards.tolist(), batch.verdicts()
    divergence = (batch.logps - batch.ref_logps).tolist()
    args = (batch.baselines, batch.satisfied, batch.logps, batch.ref_logps, GENERATIONS, kl_max)
    choice = cgpo_crraft_select(batch.rewards, *args)
    for group, index, weight in zip(batch.groups(), choice.index.tolist(), choice.weight.tolist(), strict=True):
        eligible = [
            row
            for row in group
            if verdicts[row] == "satisfied" and divergence[row] <= kl_max and not math.isnan(rewards[row])
        ]
        assert index == max(eligible, key=lambda row: rewards[row], default=-1)
        if eligible:
            expected = 1 / (1 + math.exp(batch.baselines[index].item() - rewards[index]))
            assert 0 < weight < 1 and weight == pytest.approx(expected)
        else:
            assert weight == 0


def test_a_missing_baseline_reward_makes_a_completion_ineligible():
    choice = cgpo_crraft_select([2.0, 1.0], [math.nan, 0.0], [True, True], [0.0, 0.0], [0.0, 0.0], 2, 1.0)
    assert choice.index.tolist() == [1] and choice.weight.item() == pytest.approx(1 / (1 + math.exp(-1)))


VALUES = {"baseline_rewards": [0.0] * 4, "satisfied": [True] * 4, "logps": [0.0] * 4, "ref_logps": [0.0] * 4}


@pytest.mark.parametrize("function", [cgpo_advantages, cgpo_crraft_select])
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kl_max": 0.0}, "`kl_max` is 0.0"),
        ({"kl_max": math.nan}, "`kl_max` is nan"),
        ({"num_generations": 3}, "4 rows; expected a multiple of `num_generations`"),
        ({"num_generations": 0}, "`num_generations` is 0"),
        ({"satisfied": [True]}, "`satisfied` has shape"),
        ({"baseline_rewards": [0.0]}, "`baseline_rewards` has shape"),
        ({"logps": [0.0]}, "`logps` has shape"),
        ({"rewards": [[0.0]] * 4}, "`rewards` has shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(function, changes, message):
    with pytest.raises(ValueError, match=message):
        function(**{"rewards": [0.0] * 4, "num_generations": 2, "kl_max": 1.0} | VALUES | changes)


def test_bad_arguments_of_the_pairs_and_their_loss_are_refused_by_name():
    with pytest.raises(ValueError, match="3 rows"):
        cgpo_codpo_pairs([0.0] * 3, [True] * 3, 2)
    with pytest.raises(ValueError, match="`baseline` is 'median'"):
        cgpo_advantages([0.0] * 4, 2, kl_max=1.0, baseline="median", **VALUES)
    for changes, message in (
        ({"beta": 0.0}, "`beta` is 0.0"),
        ({"lam": -1.0}, "`lam` is -1.0"),
        ({"chosen_lengths": [3, 0]}, "`chosen_lengths` is 0.0 at index 1"),
        ({"chosen_lengths": [3]}, "`chosen_lengths` has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            cgpo_codpo_loss(*[[-1.0, -1.0]] * 4, **{"chosen_lengths": [1, 1]} | changes)
