"""Where a method's limit is DPO, the trainer is `trl.DPOTrainer`, step for step."""

import pytest
from model_weights import largest_difference
from trl import DPOConfig as TRLDPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from alignkit import (
    DPOConfig,
    DPOTrainer,
    MADPOConfig,
    MADPOTrainer,
    MODPOConfig,
    MODPOTrainer,
    PreferenceConfig,
    PreferenceTrainer,
)


# TRL's own rows; that shared rows end in the same weights is shown in tests/trainers/shared_prefix.
PADDED = {"shared_prefix": "off"}


def trained(trainer_class, config, model, data, peft_config=None):
    trainer = trainer_class(model, args=config, train_dataset=data, peft_config=peft_config)
    trainer.train()
    return trainer


def curve(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.mark.parametrize("precompute", [False, True], ids=["live-reference", "precomputed-reference"])
@pytest.mark.parametrize("with_lora", [False, True], ids=["full", "lora"])
def test_base_with_sigmoid_loss_equals_trl(bundled_model_dir, pairs, settings, lora, with_lora, precompute):
    settings["precompute_ref_log_probs"] = precompute
    peft_config = lora if with_lora else None
    theirs = trained(TRLDPOTrainer, TRLDPOConfig(**settings), bundled_model_dir, pairs, peft_config)
    ours = trained(PreferenceTrainer, PreferenceConfig(**settings, **PADDED), bundled_model_dir, pairs, peft_config)
    assert largest_difference(theirs.model, ours.model) <= 1e-6
    for name in ("loss", "grad_norm", "rewards/margins", "rewards/accuracies", "logps/chosen", "entropy"):
        assert curve(ours, name) == pytest.approx(curve(theirs, name), abs=1e-5), name
    for name in ("logits/chosen", "logits/rejected", "mean_token_accuracy", "num_tokens", "rewards/chosen"):
        assert curve(ours, name) == pytest.approx(curve(theirs, name), abs=1e-5), name


@pytest.mark.parametrize(
    "loss", [{"loss_type": ["ipo"]}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}, {"ld_alpha": 0.5}]
)
def test_dpo_reaches_the_losses_of_trl(bundled_model_dir, pairs, settings, loss):
    settings["max_steps"] = 2
    theirs = trained(TRLDPOTrainer, TRLDPOConfig(**settings, **loss), bundled_model_dir, pairs)
    ours = trained(DPOTrainer, DPOConfig(**settings, **loss, **PADDED), bundled_model_dir, pairs)
    assert largest_difference(theirs.model, ours.model) <= 1e-6


def test_sft_weight_equals_the_sft_loss_of_trl(bundled_model_dir, pairs, settings):
    theirs = trained(
        TRLDPOTrainer,
        TRLDPOConfig(**settings, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.3]),
        bundled_model_dir,
        pairs,
    )
    ours = trained(DPOTrainer, DPOConfig(**settings, sft_weight=0.3, **PADDED), bundled_model_dir, pairs)
    assert largest_difference(theirs.model, ours.model) <= 1e-6
    assert "sft_loss" in ours.state.log_history[0]


def test_modpo_equals_dpo_when_all_weight_is_on_the_first_objective(bundled_model_dir, pairs, settings):
    dpo = trained(DPOTrainer, DPOConfig(**settings), bundled_model_dir, pairs)
    modpo = trained(MODPOTrainer, MODPOConfig(**settings, weights=[1.0, 0.0]), bundled_model_dir, pairs)
    assert largest_difference(dpo.model, modpo.model) <= 1e-6


def test_madpo_equals_dpo_where_every_margin_is_zero(bundled_model_dir, pairs, settings):
    flat = pairs.map(lambda row: {"reward_margin": 0.0})
    dpo = trained(DPOTrainer, DPOConfig(**settings), bundled_model_dir, flat)
    madpo = trained(MADPOTrainer, MADPOConfig(**settings), bundled_model_dir, flat)
    assert largest_difference(dpo.model, madpo.model) <= 1e-6


def test_madpo_differs_from_dpo_where_margins_differ(bundled_model_dir, pairs, settings):
    dpo = trained(DPOTrainer, DPOConfig(**settings), bundled_model_dir, pairs)
    madpo = trained(MADPOTrainer, MADPOConfig(**settings), bundled_model_dir, pairs)
    assert largest_difference(dpo.model, madpo.model) > 1e-4
