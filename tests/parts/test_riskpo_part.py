"""The part `riskpo`: tracked quantiles, permutations of its own, a state that resumes, evaluation that changes nothing."""

import pytest
import torch
from part_batches import make_rollouts

from alignkit import RiskPOConfig
from alignkit.errors import InputError
from alignkit.objectives.advantages import riskpo_advantages
from alignkit.objectives.sampling import riskpo_bundle_scores, riskpo_update_quantiles
from alignkit.parts.advantages.riskpo import RiskPOAdvantages, RiskPOAdvantagesConfig


PROMPTS, GENERATIONS, BUNDLE, LEVELS = 6, 4, 3, [0.2, 0.8]


def part(seed=0, **settings):
    return RiskPOAdvantages(RiskPOAdvantagesConfig(bundle_size=BUNDLE, **settings), seed)


def batch(seed, rate=0.5, prompts=PROMPTS, **changes):
    draws = torch.rand(prompts * GENERATIONS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return make_rollouts((draws < rate).double(), GENERATIONS, **changes)


def test_the_first_batch_starts_the_quantiles_and_uses_them_and_the_second_moves_them():
    estimator = part(permute=False)
    first, second = batch(1), batch(2, rate=0.9)
    scores = [riskpo_bundle_scores(item.totals, GENERATIONS, BUNDLE) for item in (first, second)]
    start = riskpo_update_quantiles(LEVELS, scores[0])
    for item in (first, second):  # the second is estimated with the quantiles that it finds
        found = estimator.estimate(item)
        assert torch.equal(found.values, riskpo_advantages(item.totals, GENERATIONS, *start.tolist(), BUNDLE))
        assert (found.metrics["riskpo/q_alpha"], found.metrics["riskpo/q_beta"]) == tuple(start.tolist())
    assert torch.equal(estimator.quantiles, riskpo_update_quantiles(LEVELS, scores[1], start))
    assert not torch.equal(estimator.quantiles, start)


def test_the_quantiles_stay_in_order():
    estimator = part(quantile_lr=5.0, permute=False)
    for seed in range(20):
        estimator.estimate(batch(seed, rate=0.1 if seed % 2 else 0.95))
        low, high = estimator.quantiles.tolist()
        assert low <= high


def test_completions_are_spread_over_the_members_at_random_and_alike_on_every_process():
    ours, theirs, other = part(seed=3), part(seed=3), part(seed=4)
    same = batch(1)
    first = ours.estimate(same).values
    assert torch.equal(first, theirs.estimate(same).values)
    assert not torch.equal(first, other.estimate(same).values)
    assert not torch.equal(first, ours.estimate(same).values), "a new permutation for every batch"


def test_a_restored_state_goes_on_as_the_uninterrupted_run():
    whole, first = part(), part()
    for seed in range(3):
        whole.estimate(batch(seed))
        first.estimate(batch(seed))
    rest = part(seed=99)
    rest.load_state_dict(first.state_dict())
    for seed in range(3, 6):
        assert torch.equal(whole.estimate(batch(seed)).values, rest.estimate(batch(seed)).values)
    assert torch.equal(whole.quantiles, rest.quantiles)


def test_a_state_before_the_first_batch_can_be_restored():
    restored = part(seed=5)
    restored.load_state_dict(part().state_dict())
    assert torch.equal(restored.estimate(batch(1)).values, part().estimate(batch(1)).values)


@pytest.mark.parametrize("trained", [False, True])
def test_evaluation_changes_no_state(trained):
    estimator = part()
    if trained:
        estimator.estimate(batch(0))
    quantiles, generator = estimator.quantiles, estimator.generator.get_state()
    estimator.estimate(batch(1, training=False))
    assert estimator.quantiles is quantiles and torch.equal(estimator.generator.get_state(), generator)


def test_prompts_of_an_evaluation_batch_that_fill_no_bundle_get_zero():
    found = part().estimate(batch(1, prompts=4, training=False)).values
    assert found[: BUNDLE * GENERATIONS].any() and not found[BUNDLE * GENERATIONS :].any()
    assert not part().estimate(batch(1, prompts=2, training=False)).values.any()


def test_a_batch_without_any_reward_gives_zeros_and_keeps_the_quantiles():
    nothing = make_rollouts([float("nan")] * (PROMPTS * GENERATIONS), GENERATIONS)
    estimator = part()
    assert not estimator.estimate(nothing).values.any() and estimator.quantiles is None
    estimator.estimate(batch(1))
    before = estimator.quantiles
    assert not estimator.estimate(nothing).values.any() and torch.equal(estimator.quantiles, before)


@pytest.mark.parametrize(
    "settings",
    [{"omega": 1.0}, {"form": "official_code", "w_mix": 2.0, "divide_by_bundle_std": True, "credit": "std"}],
)
def test_settings_reach_the_objective(settings):
    item = batch(1)
    quantiles = riskpo_update_quantiles(LEVELS, riskpo_bundle_scores(item.totals, GENERATIONS, BUNDLE)).tolist()
    named = {"normalize_std" if key == "divide_by_bundle_std" else key: value for key, value in settings.items()}
    expected = riskpo_advantages(item.totals, GENERATIONS, *quantiles, BUNDLE, **named)
    assert torch.equal(part(permute=False, **settings).estimate(item).values, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bundle_size": 0}, "`bundle_size` is 0"),
        ({"lower_level": 0.8}, "`lower_level` is 0.8"),
        ({"upper_level": 1.0}, "`upper_level` is 1.0"),
        ({"omega": -0.1}, "`omega` is -0.1"),
        ({"quantile_lr": -1.0}, "`quantile_lr` is -1.0"),
        ({"form": "code"}, "`form` is 'code'"),
        ({"credit": "score"}, "`credit` is 'score'"),
        ({"w_mix": 2.0}, "`w_mix` is 2.0, but it has no effect with form 'paper'"),
        ({"form": "official_code", "omega": 1.0}, "`omega` is 1.0, but it has no effect with form 'official_code'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RiskPOAdvantagesConfig(**settings)


def test_a_number_of_prompts_that_fills_no_whole_bundles_is_refused(tmp_path):
    settings = {"output_dir": str(tmp_path), "num_generations": 4, "per_device_train_batch_size": 16}
    with pytest.raises(InputError, match="`bundle_size` is 5, which does not divide the 4 prompts"):
        RiskPOConfig(**settings)
    config = RiskPOConfig(**settings, bundle_size=2)
    assert (config.importance_sampling_level, config.loss_type, config.beta) == ("sequence", "grpo", 0.0)
