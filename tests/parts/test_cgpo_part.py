"""The parts `cgpo`: per task the update of its objective, verdicts and baseline answers counted, weights by share."""

import math

import pytest
import torch
from part_batches import make_rollouts, make_tokens

from alignkit import OnlineConfig
from alignkit.errors import InputError
from alignkit.objectives.advantages import cgpo_advantages
from alignkit.objectives.preference import cgpo_codpo_loss
from alignkit.objectives.sampling import cgpo_codpo_pairs, cgpo_crraft_select
from alignkit.parts.advantages.cgpo import CGPOAdvantages, CGPOAdvantagesConfig, Task, task_of
from alignkit.parts.policy_losses.cgpo import CGPOLoss, PartConfig


K = 4
NAN = math.nan


def task(name="default", weight=None, rewards=(0,), constraints=(1,), **settings):
    settings = {"kl_max": 5.0, **settings}
    return Task(name, CGPOAdvantagesConfig(**settings), weight, rewards, constraints)


def rollouts(seed=0, prompts=3, names=None, satisfied=None, baseline=None, **changes):
    """Columns: a reward and one judge; `baseline` [prompts, 2] are the same of the baseline answers."""
    stream = torch.Generator().manual_seed(seed)
    rows = prompts * K

    def normal(*shape):
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    verdicts = (torch.rand(rows, generator=stream) < 0.6).double() if satisfied is None else torch.tensor(satisfied)
    theirs = torch.stack([normal(prompts), torch.ones(prompts).double()], 1)
    theirs = theirs if baseline is None else torch.tensor(baseline).double()
    lengths = torch.randint(1, 7, (rows,), generator=stream)
    lengths[0] = 6
    old = -normal(rows, 6).abs()
    load = {
        "rows": lambda: [{"task": (names or ["default"] * prompts)[row // K]} for row in range(rows)],
        "old_logps": lambda: old,
        "ref_logps": lambda: old + 0.3 * normal(rows, 6),
        "baseline_rewards": lambda: theirs.repeat_interleave(K, dim=0),
        "baseline_lengths": lambda: torch.full((rows,), 5),
        "truncated": lambda: lengths == 6,
    }
    rewards = torch.stack([normal(rows), verdicts], dim=1)
    fields = {"lengths": lengths, "weights": [1.0, 0.0], "max_completion_length": 8, "names": ["score", "judge"]}
    return make_rollouts(rewards, K, load=load, **{**fields, **changes})


def estimate(batch, *tasks):
    estimator = CGPOAdvantages(CGPOAdvantagesConfig())
    estimator.tasks = list(tasks)
    return estimator.estimate(batch)


def sums(batch):
    """Log-probabilities of whole completions, under the policy and under the reference."""
    return [torch.where(batch.mask, values, 0.0).sum(dim=1) for values in (batch.old_logps, batch.ref_logps)]


@pytest.mark.parametrize("baseline", ["batch", "group"])
def test_crpg_of_one_task_is_the_objective_s_advantages(baseline):
    batch = rollouts()
    found = estimate(batch, task(optimizer="crpg", advantage_baseline=baseline))
    args = (batch.baseline_rewards[:, 0], batch.rewards[:, 1], *sums(batch), 5.0, baseline)
    expected = cgpo_advantages(batch.rewards[:, 0], K, *args)
    torch.testing.assert_close(found.values, expected)
    assert not found.extras["from_baseline"].any()
    assert (
        0 <= found.metrics["cgpo/default/constrained_reward"] <= found.metrics["cgpo/default/calibrated_reward"] <= 1
    )


@pytest.mark.parametrize("optimizer", ["crpg", "codpo", "crraft"])
def test_weights_times_log_probabilities_have_the_gradient_of_the_task_s_loss(optimizer):
    batch = rollouts(seed=3)
    found = estimate(batch, task(optimizer=optimizer, fallback="skip", codpo_lam=2.0))
    policy = sums(batch)[0].requires_grad_()
    loss = -(found.values / batch.mask.sum() * policy).sum()
    (gradient,) = torch.autograd.grad(loss, policy)
    torch.testing.assert_close(gradient, torch.autograd.grad(direct_loss(optimizer, batch, policy), policy)[0])
    assert gradient.any()


def direct_loss(optimizer, batch, policy):
    """The loss by the page's own words."""
    reward, judge, theirs = batch.rewards[:, 0], batch.rewards[:, 1], batch.baseline_rewards[:, 0]
    old, reference = sums(batch)
    lengths = batch.mask.sum(dim=1)
    if optimizer == "crpg":
        return -(cgpo_advantages(reward, K, theirs, judge, old, reference, 5.0) * policy).sum() / lengths.sum()
    if optimizer == "codpo":
        pairs = cgpo_codpo_pairs(reward, judge, K)
        good, bad = pairs.chosen[pairs.valid], pairs.rejected[pairs.valid]
        logps = (policy[good], policy[bad], reference[good], reference[bad])
        return cgpo_codpo_loss(*logps, lengths[good], 0.1, 2.0).mean()
    choice = cgpo_crraft_select(reward, theirs, judge, old, reference, K, 5.0)
    index = choice.index[choice.index >= 0]
    return -(choice.weight[choice.index >= 0] * policy[index]).sum() / lengths[index].sum()


@pytest.mark.parametrize("optimizer", ["crpg", "codpo", "crraft"])
def test_nothing_satisfied_gives_no_gradient(optimizer):
    found = estimate(rollouts(satisfied=[0.0] * 12), task(optimizer=optimizer, fallback="skip"))
    assert not found.values.any()
    assert found.metrics["cgpo/default/violated"] == 1 and found.metrics["cgpo/default/trained"] == 0


@pytest.mark.parametrize("optimizer", ["crpg", "codpo", "crraft"])
def test_a_judge_that_fails_is_unknown_and_its_completions_are_not_trained_on(optimizer):
    verdicts = [NAN, 1.0, 0.0, NAN] * 3
    found = estimate(rollouts(satisfied=verdicts), task(optimizer=optimizer))
    assert not found.values[torch.tensor(verdicts).isnan()].any() and found.values.any()
    assert found.metrics["cgpo/default/unknown"] == found.metrics["cgpo/default/unknown/judge"] == 0.5
    assert found.metrics["cgpo/default/violated/judge"] == 0.25


def test_crraft_falls_back_on_a_baseline_answer_that_satisfies_the_judges():
    baseline = [[0.0, 1.0], [0.0, 0.0], [0.0, NAN]]
    batch = rollouts(satisfied=[0.0] * 12, baseline=baseline)
    found = estimate(batch, task(optimizer="crraft"))
    assert found.extras["from_baseline"].nonzero().flatten().tolist() == [0]
    # One answer of 5 tokens, weight sigmoid(0).
    assert found.values[0].item() == pytest.approx(0.5 / 5 * batch.mask.sum().item())
    assert found.metrics["cgpo/default/from_baseline"] == pytest.approx(1 / 3)
    too_long = rollouts(satisfied=[0.0] * 12, baseline=baseline, max_completion_length=4)
    assert not estimate(too_long, task(optimizer="crraft")).values.any()


def test_tasks_are_separate_and_weighted_by_their_share_of_the_batch_or_as_told():
    names = ["a", "b", "a"]
    settings = {"a": {"optimizer": "crpg"}, "b": {"optimizer": "codpo"}}

    def values(*weights):
        return estimate(
            rollouts(names=names), *(task(name, weight, **settings[name]) for name, weight in weights)
        ).values

    shared = values(("a", None), ("b", None))
    torch.testing.assert_close(shared, values(("a", 2 / 3), ("b", 1 / 3)))
    alone = values(("a", 1.0), ("b", 0.0))
    assert not alone[4:8].any()
    torch.testing.assert_close(alone[:4] * 2 / 3, shared[:4])
    batch = rollouts(names=names)
    own = torch.tensor([True] * 4 + [False] * 4 + [True] * 4)
    args = (batch.baseline_rewards[own, 0], batch.rewards[own, 1], *(item[own] for item in sums(batch)), 5.0)
    expected = cgpo_advantages(batch.rewards[own, 0], K, *args)
    torch.testing.assert_close(alone[own] / batch.mask.sum() * batch.mask[own].sum(), expected)


def test_one_task_of_weight_one_is_the_run_without_tasks():
    torch.testing.assert_close(
        estimate(rollouts(names=["only"] * 3), task("only", 1.0)).values, estimate(rollouts(), task()).values
    )


def test_a_reward_that_scored_one_side_alone_is_not_compared():
    batch = rollouts(satisfied=[1.0] * 12)
    batch.rewards = torch.cat([batch.rewards, torch.ones(12, 1).double()], 1)
    batch.reward_weights = torch.tensor([1.0, 0.0, 1.0])
    batch.rewards[0, 2] = NAN
    batch.load["baseline_rewards"] = lambda: torch.tensor([[0.0, 1.0, 1.0]] * 12).double()
    found = estimate(batch, task(optimizer="crpg", rewards=(0, 2)))
    assert found.values[0] == 0 and found.values[1:].all()
    assert found.metrics["cgpo/default/no_baseline"] == pytest.approx(1 / 12)


def test_a_completion_that_was_cut_off_loses_the_penalty():
    plain, punished = rollouts(), rollouts()
    cut = plain.truncated
    assert cut.any()
    plain.rewards[:, 0] -= 2.0 * cut
    settings = {"optimizer": "crpg", "missing_eos_penalty": 2.0}
    found = estimate(punished, task(**settings)).values
    torch.testing.assert_close(found, estimate(plain, task(optimizer="crpg")).values)


def test_without_a_constraint_everything_is_satisfied():
    batch = rollouts(satisfied=[0.0] * 12)
    found = estimate(batch, task(optimizer="crpg", constraints=()))
    assert found.values.any() and found.metrics["cgpo/default/violated"] == 0


def test_codpo_needs_no_baseline_answer():
    batch = rollouts()
    del batch.load["baseline_rewards"], batch.load["baseline_lengths"]
    assert estimate(batch, task(optimizer="codpo", kl_max=None)).values.any()


def test_state_is_the_baseline_rewards():
    estimator = CGPOAdvantages(CGPOAdvantagesConfig())
    estimator.baselines["key"] = [0.5, NAN]
    other = CGPOAdvantages(CGPOAdvantagesConfig())
    other.load_state_dict(estimator.state_dict())
    assert other.baselines is estimator.baselines


def test_a_row_of_an_unknown_task_is_refused():
    assert task_of({"task": "anything"}, [task()]).name == "default"
    assert task_of({}, [task("only")]).name == "only"
    with pytest.raises(InputError, match="`task` 'c'; the tasks of the run are a, b"):
        task_of({"task": "c"}, [task("a"), task("b")])


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "ppo"},
        {"kl_max": 0.0},
        {"kl_max": NAN},
        {"codpo_beta": 0.0},
        {"codpo_lam": -1.0},
        {"advantage_baseline": "median"},
        {"fallback": "again"},
        {"missing_eos_penalty": -1.0},
    ],
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings)).removeprefix("codpo_").removeprefix("advantage_")):
        CGPOAdvantagesConfig(**settings)


def test_the_loss_is_minus_weight_times_log_probability_and_the_parts_need_one_another(tmp_path):
    tokens = make_tokens(extras={"from_baseline": torch.zeros(4)})
    loss = CGPOLoss(PartConfig()).token_loss(tokens)
    torch.testing.assert_close(loss, torch.where(tokens.mask, -tokens.advantages[:, None] * tokens.logps, 0.0))
    for parts in ({"advantage": "cgpo"}, {"policy_loss": "cgpo"}):
        with pytest.raises(InputError, match="cgpo"):
            OnlineConfig(output_dir=str(tmp_path), **parts)
