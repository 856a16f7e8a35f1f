"""RTO: the frozen DPO model, where it lies, and the limits in which RTO is PPO."""

import math
import os

import pytest
import torch
from online_worker import reward
from shaken import shake

from alignkit.errors import InputError
from alignkit.parts.rollout import RolloutBatch


def no_score(completions, **columns):
    return [None if row == 1 else 1.0 for row, _ in enumerate(completions)]


@pytest.fixture
def merged(bundled_model_dir, adapter, tmp_path):
    """The same as a model of its own."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    model = AutoPeftModelForCausalLM.from_pretrained(adapter()).merge_and_unload()
    model.save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(bundled_model_dir).save_pretrained(tmp_path / "merged")
    return str(tmp_path / "merged")


@pytest.fixture
def seen(monkeypatch):
    """The `RolloutBatch` that the estimator was given, and the token rewards that it made."""
    from alignkit.parts.advantages.rto import RTOAdvantages

    found = {}
    original = RTOAdvantages.token_rewards

    def spy(self, batch, scores):
        found.update(batch=batch, rewards=original(self, batch, scores))
        return found["rewards"]

    monkeypatch.setattr(RTOAdvantages, "token_rewards", spy)
    return found


def ppo_rewards(batch: RolloutBatch, kl_coef):
    from alignkit.objectives.rewards import kl_shaped_rewards

    return kl_shaped_rewards(batch.totals, batch.old_logps, batch.ref_logps, batch.mask, kl_coef, "k1", 10.0)


def test_an_adapter_lies_beside_the_policys_and_nothing_of_it_moves(make, rollouts, adapter):
    trainer = make(key="rto", dpo_model=adapter(), max_steps=2, learning_rate=1e-3, critic="adapter")
    assert trainer.frozen.adapters == {"dpo": "dpo"} and not trainer.frozen.models
    before = {name: item.clone() for name, item in trainer.model.named_parameters() if ".dpo." in name}
    assert before and not any(item.requires_grad for name, item in trainer.model.named_parameters() if ".dpo." in name)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all(math.isfinite(entry["loss"]) for entry in logs)
    assert {"rto/implicit_reward", "rto/dense_reward", "rto/clip_fraction", "objective/kl"} <= logs[0].keys()
    after = dict(trainer.model.named_parameters())
    assert all(torch.equal(after[name], item) for name, item in before.items())
    assert trainer.model.active_adapter == "default"
    trainer.save_model()
    assert not {"dpo", "critic"} & set(os.listdir(trainer.args.output_dir))


def test_adapter_folder_and_merged_model_give_the_same_rewards(make, rollouts, seen, adapter, merged):
    found = []
    for lora, source in ((True, adapter()), (True, merged), (False, adapter()), (False, merged)):
        trainer = make(key="rto", lora=lora, dpo_model=source)
        assert bool(trainer.frozen.models) == (not lora or source == merged)
        rollouts(trainer)
        found.append((seen["batch"].logps_under("dpo"), seen["rewards"]))
    for logps, rewards in found[1:]:
        torch.testing.assert_close(logps, found[0][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rewards, found[0][1], rtol=1e-4, atol=1e-4)
    assert (found[0][0] - seen["batch"].ref_logps).abs().max() > 0.1


def test_without_weight_or_with_the_reference_as_dpo_model_it_is_ppo(make, rollouts, seen, adapter, bundled_model_dir):
    for settings in ({"beta1": 0.0, "dpo_model": adapter()}, {"dpo_model": bundled_model_dir}):
        trainer = make(key="rto", kl_coef=0.3, **settings)
        shake(trainer.model, only="lora_B.default")
        rto = rollouts(trainer)
        torch.testing.assert_close(seen["rewards"], ppo_rewards(seen["batch"], 0.3))
        ppo_trainer = make(key="ppo", kl_coef=0.3, score_clip=10.0)
        shake(ppo_trainer.model, only="lora_B.default")
        ppo = rollouts(ppo_trainer)
        assert torch.equal(rto["completion_ids"], ppo["completion_ids"])
        torch.testing.assert_close(rto["advantages"], ppo["advantages"], rtol=1e-4, atol=1e-5)


def test_without_clips_a_row_sums_to_its_three_parts(make, rollouts, seen, adapter):
    trainer = make(key="rto", dpo_model=adapter(), dpo_clip=None, beta1=0.4, kl_coef=0.2, beta3=0.5)
    shake(trainer.model, only="lora_B.default")
    rollouts(trainer)
    batch = seen["batch"]

    def total(values):
        return torch.where(batch.mask, values, 0.0).sum(dim=1)

    expected = 0.4 * total(batch.logps_under("dpo") - batch.ref_logps) + 0.5 * batch.totals
    expected -= 0.2 * total(batch.old_logps - batch.ref_logps)
    torch.testing.assert_close(seen["rewards"].sum(dim=1), expected, rtol=1e-4, atol=1e-4)


def test_the_clip_bounds_the_dense_part_and_a_huge_weight_leaves_its_sign(make, rollouts, seen, adapter):
    trainer = make(key="rto", dpo_model=adapter(), beta1=1e6, beta3=0.0, kl_coef=0.0, dpo_clip=0.05)
    batch = rollouts(trainer)
    given = seen["batch"]
    log_ratio = (given.logps_under("dpo") - given.ref_logps)[given.mask]
    differs = log_ratio.abs() > 1e-6
    torch.testing.assert_close(seen["rewards"][given.mask][differs], 0.05 * log_ratio.sign()[differs])
    assert trainer._metrics["train"]["rto/clip_fraction"][0] >= differs.float().mean() > 0.5
    assert not seen["rewards"][~seen["batch"].mask].any() and not seen["rewards"].requires_grad
    assert batch["advantages"].isfinite().all()


def test_dpo_ref_replaces_the_reference_of_the_dense_part_alone(make, rollouts, seen, adapter):
    ours, theirs = adapter("dpo"), adapter("theirs", std=0.3)
    trainer = make(key="rto", dpo_model=ours, dpo_ref=theirs, beta1=1.0, dpo_clip=None, kl_coef=0.1)
    rollouts(trainer)
    batch = seen["batch"]
    dense = batch.logps_under("dpo") - batch.logps_under("dpo_ref")
    expected = torch.where(batch.mask, dense, 0.0) + ppo_rewards(batch, 0.1)
    torch.testing.assert_close(seen["rewards"], expected, rtol=1e-4, atol=1e-4)
    assert (batch.logps_under("dpo_ref") - batch.ref_logps).abs().max() > 0.1


def test_with_an_own_reference_and_no_kl_the_policys_is_not_loaded(make, rollouts, adapter):
    trainer = make(key="rto", lora=False, dpo_model=adapter(), dpo_ref=adapter("theirs"), kl_coef=0.0)
    assert trainer.ref_model is None
    assert rollouts(trainer)["advantages"].isfinite().all()
    assert make(key="rto", lora=False, dpo_model=adapter(), kl_coef=0.0).ref_model is not None


def test_a_row_without_a_score_has_no_advantage(make, rollouts, adapter):
    trainer = make(key="rto", dpo_model=adapter(), beta3=0.0, rewards=[no_score])
    batch = rollouts(trainer)
    assert not batch["advantages"][1].any() and not batch["tool_mask"][1].any()
    assert all(batch["advantages"][row].any() for row in (0, 2, 3))


def test_without_score_no_reward_function_is_needed(bundled_model_dir, adapter, tmp_path):
    from alignkit import RTOConfig, RTOTrainer
    from alignkit.data import load

    settings = {"per_device_train_batch_size": 4, "bf16": False, "use_cpu": True, "report_to": "none"}
    settings = {"max_completion_length": 8, "max_steps": 1, "save_strategy": "no", "disable_tqdm": True, **settings}
    args = RTOConfig(output_dir=str(tmp_path / "out"), beta3=0.0, dpo_model=adapter(), **settings)
    trainer = RTOTrainer(bundled_model_dir, args=args, train_dataset=load("bundled/math", split="train[:8]"))
    trainer.train()
    assert trainer.state.log_history[0]["objective/score"] == 0.0
    assert trainer.state.log_history[0]["rto/dense_reward"] != 0.0


def test_a_model_object_is_taken_and_its_name_kept(make, rollouts, bundled_model_dir, merged):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(merged)
    trainer = make(key="rto", dpo_model=model)
    assert trainer.args.dpo_model == merged and not any(item.requires_grad for item in model.parameters())
    assert rollouts(trainer)["advantages"].any()


def test_a_dpo_model_of_another_vocabulary_is_refused(make, bundled_model_dir, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(bundled_model_dir)
    config.vocab_size += 8
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="both must read the same tokens"):
        make(key="rto", dpo_model=str(tmp_path / "other"))


@pytest.mark.parametrize(
    "config, message",
    [
        ({}, "`dpo_model` is missing"),
        ({"dpo_model": "/no/such/model"}, "`dpo`: /no/such/model cannot be read"),
        ({"dpo_model": "default"}, "the adapter that is trained"),
        ({"dpo_model": "x", "beta1": -0.1}, "beta1"),
        ({"dpo_model": "x", "beta3": -0.1}, "beta3"),
        ({"dpo_model": "x", "dpo_clip": 0.0}, "dpo_clip"),
        ({"dpo_model": "x", "kl_estimator": "k3"}, "RTO's KL is the log-ratio"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(make, config, message):
    with pytest.raises(ValueError, match=message):
        make(key="rto", rewards=[reward], **config)


def test_the_two_stages_of_the_recipe(bundled_model_dir, tmp_path):
    """A DPO adapter from our preference trainer, then RTO with it."""
    from alignkit.config.recipes import recipe_path
    from alignkit.trainers.launch import main

    steps = ["--max_steps", "2", "--save_strategy", "no", "--use_cpu", "true"]
    dpo, out = str(tmp_path / "dpo"), str(tmp_path / "rto")
    assert main(["dpo", "--config", str(recipe_path("dpo")), "--output_dir", dpo, *steps]) == 0
    small = ["--per_device_train_batch_size", "8", "--max_completion_length", "16"]
    assert (
        main(["rto", "--config", str(recipe_path("rto")), "--dpo_model", dpo, "--output_dir", out, *steps, *small])
        == 0
    )
    assert {"adapter_model.safetensors", "alignkit_run.json"} <= set(os.listdir(out))
