"""The advantage parts of PPO and RTO: what they make of a gathered batch, their state, their refusals."""

import math
from types import SimpleNamespace

import pytest
import torch
from part_batches import make_rollouts

from alignkit.errors import InputError
from alignkit.objectives.advantages import whiten
from alignkit.objectives.values import gae
from alignkit.parts.advantages.gae import GAEAdvantages, GAEAdvantagesConfig
from alignkit.parts.advantages.rto import RTOAdvantages, RTOAdvantagesConfig


LENGTHS = [4, 2, 3, 1]
SCORES = [1.0, -0.5, math.nan, 2.0]


def normal(seed):
    return torch.randn(len(LENGTHS), max(LENGTHS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch_of(scores=SCORES, training=True, **more):
    """A batch whose further tensors are loaded when asked for; `asked` lists by whom."""
    asked = []
    tensors = {
        "old_logps": -normal(0).abs(),
        "ref_logps": -normal(1).abs(),
        "values": normal(2),
        "end_values": normal(3)[:, 0],
    }
    tensors["truncated"] = torch.tensor([True, False, False, False])

    def loader(name):
        return lambda: asked.append(name) or tensors[name]

    load = {name: loader(name) for name in tensors}
    load["logps_under"] = lambda name: asked.append(name) or -normal(len(name)).abs()
    batch = make_rollouts(scores, 1, lengths=LENGTHS, load=load, training=training, **more)
    return batch, asked


def part(cls=GAEAdvantages, **settings):
    return cls(cls.Config(**settings))


def test_advantages_are_whitened_over_scored_tokens_and_returns_are_not():
    batch, _ = batch_of()
    estimator = part()
    result = estimator.estimate(batch)
    rewards = estimator.token_rewards(batch, batch.totals)
    plain = gae(rewards, batch.values, batch.mask)
    mask = batch.mask & torch.tensor([[True], [True], [False], [True]])
    torch.testing.assert_close(result.values, whiten(plain.advantages, mask))
    assert torch.equal(result.extras["returns"], plain.returns)
    assert torch.equal(result.extras["scored"], mask) and torch.equal(result.extras["old_values"], batch.values)
    valid = result.values[mask]
    assert valid.mean().abs() < 1e-12 and valid.std() == pytest.approx(1) and not result.values[2].any()


def test_without_a_kl_the_reference_is_not_asked_for():
    batch, asked = batch_of()
    result = part(kl_coef=0.0).estimate(batch)
    assert "ref_logps" not in asked and "end_values" not in asked and "objective/kl" not in result.metrics


def test_a_cut_off_completion_takes_the_critics_value_of_its_end():
    batch, _ = batch_of()
    settings = {"lam": 1.0, "kl_coef": 0.0, "whiten_advantages": False}
    plain, open_ended = (
        part(bootstrap_truncated=flag, **settings).estimate(batch).extras["returns"] for flag in (False, True)
    )
    torch.testing.assert_close((open_ended - plain)[0], batch.end_values[0].expand(4))
    assert torch.equal(open_ended[1:], plain[1:])


def test_whitened_rewards_have_spread_one_and_keep_their_mean():
    batch, _ = batch_of()
    estimator = part(whiten_rewards=True, lam=1.0, gamma=0.0, whiten_advantages=False)
    returns = estimator.estimate(batch).extras["returns"]  # gamma 0: the reward of each token
    rewards, mask = estimator.token_rewards(batch, batch.totals), batch.mask & ~batch.totals.isnan()[:, None]
    assert returns[mask].std() == pytest.approx(1, abs=1e-6)
    assert returns[mask].mean().item() == pytest.approx(rewards[mask].mean().item())


def test_another_lambda_for_the_critic_changes_its_targets_alone():
    batch, _ = batch_of()
    one, two = part(lam=0.5).estimate(batch), part(lam=0.5, critic_lam=1.0).estimate(batch)
    assert torch.equal(one.values, two.values) and not torch.equal(one.extras["returns"], two.extras["returns"])


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant():
    perfect = make_rollouts(
        [1.0, 3.0],
        1,
        lengths=[2, 2],
        load={"old_logps": lambda: -torch.ones(2, 2), "values": lambda: torch.tensor([[1.0, 1.0], [3.0, 3.0]])},
    )
    constant = make_rollouts(
        [1.0, 3.0],
        1,
        lengths=[2, 2],
        load={"old_logps": lambda: -torch.ones(2, 2), "values": lambda: torch.full((2, 2), 0.7)},
    )
    settings = {"kl_coef": 0.0, "lam": 1.0}
    assert part(**settings).estimate(perfect).metrics["value/explained_variance"] == pytest.approx(1)
    assert part(**settings).estimate(constant).metrics["value/explained_variance"] == pytest.approx(0)


def test_the_adaptive_weight_is_used_after_it_was_measured_and_survives_a_round_trip():
    batch, _ = batch_of()
    estimator = part(kl_target=1e-3, kl_horizon=8.0, kl_estimator="k2")
    first = estimator.estimate(batch)
    assert first.metrics["objective/kl_coef"] == 0.05 and estimator.kl_coef == pytest.approx(0.05 * (1 + 0.2 * 4 / 8))
    other = part(kl_target=1e-3, kl_horizon=8.0, kl_estimator="k2")
    other.load_state_dict(estimator.state_dict())
    assert torch.equal(other.estimate(batch).values, estimator.estimate(batch).values)
    kept = estimator.kl_coef
    estimator.estimate(batch_of(training=False)[0])
    assert estimator.kl_coef == kept


def test_a_batch_without_scores_is_all_zero():
    result = part(kl_target=1.0).estimate(batch_of([math.nan] * 4)[0])
    assert not result.values.any() and not result.extras["scored"].any()
    assert "value/explained_variance" not in result.metrics and result.metrics["objective/kl"] == 0.0


def test_rto_asks_for_the_dpo_model_and_logs_what_it_gave():
    batch, asked = batch_of()
    settings = {"beta1": 0.5, "dpo_clip": 0.1}
    result = part(RTOAdvantages, **settings).estimate(batch)
    assert set(asked) >= {"dpo", "ref_logps"} and "dpo_ref" not in asked
    mask = batch.mask & ~batch.totals.isnan()[:, None]
    dense = torch.where(mask, 0.5 * (batch.logps_under("dpo") - batch.ref_logps), 0.0)
    assert result.metrics["rto/implicit_reward"] == pytest.approx(dense.sum().item() / 3)
    assert result.metrics["rto/dense_reward"] == pytest.approx(dense.clamp(-0.1, 0.1).sum().item() / 3)
    assert result.metrics["rto/clip_fraction"] == pytest.approx((dense.abs() > 0.1).sum().item() / mask.sum().item())


def test_rto_with_a_reference_of_its_own_and_no_kl_needs_no_other():
    batch, asked = batch_of()
    part(RTOAdvantages, dpo_ref="x", kl_coef=0.0).estimate(batch)
    assert "dpo_ref" in asked and "ref_logps" not in asked
    assert RTOAdvantages.needs_reference(RTOAdvantagesConfig(kl_coef=0.0))
    assert not GAEAdvantages.needs_reference(GAEAdvantagesConfig(kl_coef=0.0))


def test_a_trainer_without_critic_or_dpo_model_is_refused():
    with pytest.raises(InputError, match="train the method `ppo`"):
        GAEAdvantages.check(GAEAdvantagesConfig(), SimpleNamespace())
    with pytest.raises(InputError, match="`rto` alone"):
        RTOAdvantages.check(RTOAdvantagesConfig(), SimpleNamespace(critic="separate"))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kl_target": 0.0}, "target"),
        ({"kl_target": 1.0, "kl_horizon": 0.0}, "horizon"),
        ({"kl_target": 1.0, "kl_coef": 0.0}, "no weight to adapt"),
        ({"critic_lam": 2.0}, "critic_lam"),
        ({"gamma": math.nan}, "gamma"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        GAEAdvantagesConfig(**settings)
