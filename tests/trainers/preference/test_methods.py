"""The trainers on the bundled model: columns arrive, losses are what the objectives say, QLoRA runs."""

import json
import math

import pytest
import torch

from alignkit import DPOConfig, DPOTrainer, MADPOConfig, MADPOTrainer, MODPOConfig, MODPOTrainer
from alignkit.errors import InputError
from alignkit.objectives.preference import madpo_weights


def test_the_first_loss_is_log_two_times_the_mean_weight(bundled_model_dir, pairs, settings, lora):
    settings.update(max_steps=1, per_device_train_batch_size=64)
    trainer = MADPOTrainer(bundled_model_dir, args=MADPOConfig(**settings), train_dataset=pairs, peft_config=lora)
    trainer.train()
    log = trainer.state.log_history[0]
    weight = madpo_weights(pairs["reward_margin"]).mean().item()
    assert log["loss"] == pytest.approx(math.log(2) * weight, rel=1e-5)
    assert log["madpo/weight_mean"] == pytest.approx(weight, rel=1e-5)
    negative = sum(margin < 0 for margin in pairs["reward_margin"]) / len(pairs)
    assert log["madpo/margin_negative"] == pytest.approx(negative, abs=1e-6)


def test_modpo_margin_models_give_the_margins_of_the_columns(bundled_model_dir, pairs, settings, lora, tmp_path):
    """An implicit reward from a frozen adapter equals the same numbers given as columns."""
    trained = DPOTrainer(bundled_model_dir, args=DPOConfig(**settings), train_dataset=pairs, peft_config=lora)
    trained.train()
    adapter = str(tmp_path / "adapter")
    trained.save_model(adapter)
    settings.update(max_steps=1, precompute_ref_log_probs=True, beta=0.5)
    config = MODPOConfig(**settings, weights=[0.4, 0.6], margin_models=[adapter])
    live = MODPOTrainer(bundled_model_dir, args=config, train_dataset=pairs, peft_config=lora)
    rows = live.train_dataset
    assert {"margin_1_chosen_logps", "margin_1_rejected_logps"} <= set(rows.column_names)
    columns = {
        f"{side}_margin_rewards": [
            [0.5 * (margin - ref)]
            for margin, ref in zip(rows[f"margin_1_{side}_logps"], rows[f"ref_{side}_logps"], strict=True)
        ]
        for side in ("chosen", "rejected")
    }
    given = pairs.remove_columns(list(columns))
    for name, values in columns.items():
        given = given.add_column(name, values)
    config = MODPOConfig(**settings, weights=[0.4, 0.6])
    fixed = MODPOTrainer(bundled_model_dir, args=config, train_dataset=given, peft_config=lora)
    live.train()
    fixed.train()
    assert live.state.log_history[0]["loss"] == pytest.approx(fixed.state.log_history[0]["loss"], abs=1e-6)
    assert live.state.log_history[0]["loss"] != pytest.approx(math.log(2), abs=1e-4)
    assert list(live.model.peft_config) == ["default"]  # the margin adapter is gone before anything is saved


def test_modpo_margin_model_of_a_full_fine_tune(bundled_model_dir, pairs, settings):
    """The margin model may be a full model: the base itself gives margins of zero, so the loss is log 2."""
    settings.update(max_steps=1, weights=[0.5, 0.5])
    config = MODPOConfig(**settings, margin_models=[bundled_model_dir])
    trainer = MODPOTrainer(bundled_model_dir, args=config, train_dataset=pairs)
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize(
    "trainer_class, config_class", [(DPOTrainer, DPOConfig), (MADPOTrainer, MADPOConfig), (MODPOTrainer, MODPOConfig)]
)
def test_qlora_trains_the_adapter_and_leaves_the_base_alone(
    bundled_model_dir, pairs, settings, lora, trainer_class, config_class
):
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    trainer = trainer_class(
        bundled_model_dir,
        args=config_class(**settings),
        train_dataset=pairs,
        quantization_config=quantization,
        peft_config=lora,
    )
    assert trainer.model.get_base_model().is_loaded_in_4bit
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved and all("lora_" in name for name in moved)
    assert all(math.isfinite(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)


def test_evaluation_logs_the_same_metrics(bundled_model_dir, pairs, settings, lora):
    settings.update(max_steps=2, eval_strategy="steps", eval_steps=2)
    config = MADPOConfig(**settings)
    trainer = MADPOTrainer(
        bundled_model_dir, args=config, train_dataset=pairs, eval_dataset=pairs.select(range(10)), peft_config=lora
    )
    trainer.train()
    evaluation = next(entry for entry in trainer.state.log_history if "eval_loss" in entry)
    assert {"eval_rewards/margins", "eval_madpo/weight_mean"} <= set(evaluation)


def test_a_saved_model_carries_the_facts_of_its_run(bundled_model_dir, pairs, settings, lora, tmp_path):
    settings["max_steps"] = 1
    config = MODPOConfig(**settings, weights=[0.3, 0.7], objective_names=["correctness", "brevity"])
    trainer = MODPOTrainer(bundled_model_dir, args=config, train_dataset=pairs, peft_config=lora)
    trainer.save_model(str(tmp_path / "saved"))
    facts = json.loads((tmp_path / "saved" / "alignkit_run.json").read_text())
    assert facts["method"] == "modpo" and facts["versions"]["trl"] == "1.16.0"
    assert facts["config"]["weights"] == [0.3, 0.7]
    assert facts["config"]["objective_names"] == ["correctness", "brevity"]
    assert "output_dir" not in facts["config"]


def test_the_model_card_cites_the_paper(bundled_model_dir, pairs, settings, lora, tmp_path):
    settings.update(max_steps=1, save_strategy="steps", save_steps=1)
    trainer = MADPOTrainer(bundled_model_dir, args=MADPOConfig(**settings), train_dataset=pairs, peft_config=lora)
    trainer.train()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "2510.05342" in card and "madpo" in card


def test_a_missing_column_is_named_before_the_model_is_loaded(pairs, settings):
    rows = pairs.remove_columns("reward_margin")
    with pytest.raises(InputError, match="reward_margin"):
        MADPOTrainer("no/such-model", args=MADPOConfig(**settings), train_dataset=rows)


def test_a_nan_margin_is_refused_with_its_row(pairs, settings):
    rows = pairs.remove_columns("reward_margin").add_column("reward_margin", [0.5] * 7 + [math.nan] + [0.5] * 56)
    with pytest.raises(InputError, match=r"7.*reward_margin|reward_margin.*7"):
        MADPOTrainer("no/such-model", args=MADPOConfig(**settings), train_dataset=rows)


def test_a_wrong_number_of_margins_is_refused(pairs, settings):
    with pytest.raises(InputError, match="chosen_margin_rewards"):
        MODPOTrainer("no/such-model", args=MODPOConfig(**settings, weights=[1.0, 1.0, 1.0]), train_dataset=pairs)
