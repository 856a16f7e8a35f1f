"""HAPO in training: temperatures of its own for each token, and an exact resume of their statistics."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from launched_runs import assert_equal_weights
from model_weights import largest_difference
from online_worker import build, run

from alignkit.errors import InputError
from alignkit.trainers.online.hapo import EntropyTemperature
from alignkit.trainers.online.loss import PolicyLossMixin


def task_of(model, folder, config=None, **changes):
    return {"model": model, "key": "hapo", "output_dir": str(folder), "config": config or {}, "lora": True, **changes}


def test_uncertain_tokens_are_heated_and_certain_ones_cooled():
    scores = torch.tensor([[5.0, 0.0, 0.0, -torch.inf], [0.1, 0.0, 0.2, 0.1]], dtype=torch.float64)
    base = 0.8
    entropies = torch.special.entr((scores / base).softmax(-1)).sum(-1)
    center, scale = entropies.log().mean().item(), entropies.log().std(correction=0).item()
    sampler = EntropyTemperature(center, scale, base, tau=0.1)
    drawn_from = (sampler(None, scores) / base).softmax(-1)  # generation divides by the base temperature
    (temperatures,) = sampler.temperatures
    assert temperatures.tolist() == pytest.approx([base * 0.9, base * 1.1])
    torch.testing.assert_close(drawn_from, (scores / temperatures[:, None]).softmax(-1))


def test_only_training_after_the_first_update_samples_adaptively(bundled_model_dir, tmp_path):
    trainer = build(task_of(bundled_model_dir, tmp_path, {"max_steps": 2, "eval_strategy": "no"}))
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(math.isfinite(entry["loss"]) for entry in logs)
    assert "hapo/temperature_mean" not in logs[0] and 0.5 < logs[1]["hapo/temperature_mean"] < 1.2
    assert "generate" not in vars(trainer.accelerator.unwrap_model(trainer.model_wrapped))
    before = trainer.parts["policy_loss"].state_dict()
    trainer.evaluate(trainer.train_dataset.select(range(8)))
    assert trainer.parts["policy_loss"].state_dict() == before
    assert "eval_hapo/temperature_mean" not in trainer.state.log_history[-1]


def test_a_strength_of_zero_samples_as_without_it(bundled_model_dir, tmp_path):
    still, off, on = (
        run(task_of(bundled_model_dir, tmp_path, {"max_steps": 3, **config}))
        for config in ({"tau": 0.0}, {"adaptive_temperature": False}, {"tau": 0.5})
    )
    assert largest_difference(still.model, off.model) == 0.0 < largest_difference(on.model, off.model)


def test_its_loss_without_strengths_trains_as_clip_higher(bundled_model_dir, tmp_path):
    task = {**task_of(bundled_model_dir, tmp_path), "key": "online"}
    config = {"max_steps": 2, "num_iterations": 2, "epsilon_high": 0.28}
    plain = run({**task, "config": config})
    loss = {"name": "hapo", "adv_beta": 0.0, "clip_alpha": 0.0}
    assert largest_difference(plain.model, run({**task, "config": {**config, "policy_loss": loss}}).model) < 1e-6


def test_stopped_within_a_generation_batch_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path):
    """At step 3 the statistics of the next temperatures are half taken."""
    config = {"max_steps": 5, "num_iterations": 2, "save_strategy": "steps", "save_steps": 3, "tau": 0.5}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(task_of(bundled_model_dir, whole, config))
    cut.mkdir()
    (whole / "checkpoint-3").rename(Path(cut) / "checkpoint-3")
    run(task_of(bundled_model_dir, cut, config, resume=True))
    assert_equal_weights(whole, cut)


def test_a_rollout_func_is_refused(bundled_model_dir, tmp_path):
    with pytest.raises(InputError, match="rollout_func"):
        build(task_of(bundled_model_dir, tmp_path), rollout_func=lambda prompts, trainer: {})


@pytest.mark.parametrize("own, other", [([1.0, 2.0], [3.0]), ([], [3.0]), ([], [])])
def test_values_of_all_processes_are_concatenated_without_padding(own, other):
    """Two processes, the first of which is this one."""
    longest = max(len(own), len(other))

    def gather(values):
        if values.dtype == torch.int64:
            return torch.tensor([len(own), len(other)])
        return torch.cat([values, torch.tensor(other + [0.0] * (longest - len(other)))])

    accelerator = SimpleNamespace(
        gather=gather, pad_across_processes=lambda values: torch.cat([values, torch.zeros(longest - len(values))])
    )
    values = PolicyLossMixin._concatenate(SimpleNamespace(accelerator=accelerator), torch.tensor(own))
    assert values.tolist() == own + other
