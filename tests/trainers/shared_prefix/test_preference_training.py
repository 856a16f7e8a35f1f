"""Five steps with and without sharing end in the same weights, for pairs and for every pass that reads them."""

import pytest
from model_weights import largest_difference

from alignkit import DPOConfig, DPOTrainer, MADPOConfig, MADPOTrainer
from alignkit.errors import InputError


# TRL's times and the rates made from them.
CLOCK = ("runtime", "per_second", "total_flos", "epoch")


@pytest.fixture(scope="module")
def pairs():
    from alignkit.data import load

    return load("bundled/preference_scored", split="train[:32]")


@pytest.fixture
def settings(tmp_path):
    return {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 5,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-4,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "max_length": 256,
    }


def trained(trainer_class, config_class, model, data, peft_config=None, **settings):
    trainer = trainer_class(model, args=config_class(**settings), train_dataset=data, peft_config=peft_config)
    trainer.train()
    return trainer


def sharing_of(trainer):
    model = trainer.accelerator.unwrap_model(trainer.model)
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return getattr(base, "prompt_sharing", None)


def logged(trainer):
    return [
        {name: value for name, value in entry.items() if not any(word in name for word in CLOCK)}
        for entry in trainer.state.log_history
    ]


def assert_same_run(left, right):
    assert largest_difference(left.model, right.model) <= 1e-5
    for one, other in zip(logged(left), logged(right), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_dpo_with_and_without_sharing_ends_in_the_same_weights(bundled_model_dir, pairs, settings):
    off = trained(DPOTrainer, DPOConfig, bundled_model_dir, pairs, shared_prefix="off", **settings)
    assert sharing_of(off) is None
    auto = trained(DPOTrainer, DPOConfig, bundled_model_dir, pairs, **settings)
    assert sharing_of(auto).form == "grouped"
    assert_same_run(off, auto)


def test_madpo_with_lora_and_checkpointing_ends_in_the_same_weights(bundled_model_dir, pairs, settings):
    from peft import LoraConfig

    settings["gradient_checkpointing"] = True
    ends = {}
    for form in ("off", "mask"):
        lora = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
        ends[form] = trained(MADPOTrainer, MADPOConfig, bundled_model_dir, pairs, lora, shared_prefix=form, **settings)
    assert sharing_of(ends["mask"]).form == "mask"
    assert_same_run(ends["off"], ends["mask"])


def test_an_adapter_of_virtual_tokens_is_refused_or_left_alone(bundled_model_dir, pairs, settings):
    from peft import PromptTuningConfig

    tuning = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    with pytest.raises(InputError, match="virtual tokens"):
        DPOTrainer(
            bundled_model_dir,
            args=DPOConfig(**settings, shared_prefix="grouped"),
            train_dataset=pairs,
            peft_config=tuning,
        )


def test_settings_that_pack_or_compile_the_batch_are_refused(bundled_model_dir, pairs, settings):
    args = DPOConfig(**settings, shared_prefix="mask")
    args.torch_compile = True
    with pytest.raises(InputError, match="torch_compile"):
        DPOTrainer(bundled_model_dir, args=args, train_dataset=pairs)


@pytest.mark.slow
@pytest.mark.parametrize("trainer_class, config_class", [(DPOTrainer, DPOConfig), (MADPOTrainer, MADPOConfig)])
@pytest.mark.parametrize("form", ["auto", "mask", "grouped"])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"gradient_checkpointing": True},
        {"precompute_ref_log_probs": True},
        {"sft_weight": 0.1},
        {"truncation_mode": "keep_end", "max_length": 40},
    ],
    ids=["plain", "checkpointing", "precomputed", "sft", "keep-end"],
)
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_every_pass_of_pairs_ends_in_the_same_weights(
    bundled_model_dir, pairs, settings, trainer_class, config_class, form, setting, adapter
):
    from peft import LoraConfig

    def lora():
        full = adapter == "full"
        return None if full else LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")

    settings.update(setting)
    off = trained(trainer_class, config_class, bundled_model_dir, pairs, lora(), shared_prefix="off", **settings)
    on = trained(trainer_class, config_class, bundled_model_dir, pairs, lora(), shared_prefix=form, **settings)
    assert_same_run(off, on)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [{"loss_type": ["ipo"]}, {"ld_alpha": 0.5}, {"use_weighting": True}])
def test_the_losses_of_trl_itself_share_prompts_too(bundled_model_dir, pairs, settings, loss):
    off = trained(DPOTrainer, DPOConfig, bundled_model_dir, pairs, shared_prefix="off", **settings, **loss)
    on = trained(DPOTrainer, DPOConfig, bundled_model_dir, pairs, **settings, **loss)
    assert sharing_of(on).form == "grouped"
    assert_same_run(off, on)


@pytest.mark.slow
def test_qlora_ends_in_the_same_weights(bundled_model_dir, pairs, settings):
    import torch
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig

    four_bit = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    settings["model_init_kwargs"] = {"quantization_config": four_bit}
    ends = {}
    for form in ("off", "auto"):
        lora = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
        ends[form] = trained(DPOTrainer, DPOConfig, bundled_model_dir, pairs, lora, shared_prefix=form, **settings)
    assert sharing_of(ends["auto"]).form == "grouped"
    # TRL trains the adapters of a quantised base in bfloat16: their weights end within a few units of the last place.
    assert largest_difference(ends["off"].model, ends["auto"].model) <= 5e-4
    for one, other in zip(logged(ends["off"]), logged(ends["auto"]), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
