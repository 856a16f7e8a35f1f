"""Launching: arguments of a process, and training that goes on from an adapter."""

import json

import pytest

from alignkit.errors import InputError
from alignkit.trainers.entry import parse, run_entry
from alignkit.trainers.launch import main, resume_argument


def test_arguments_are_parted_into_method_file_and_flags():
    assert parse(["dpo", "--beta", "1", "--config", "a.yaml", "--seed", "2"]) == (
        "dpo",
        "a.yaml",
        ["--beta", "1", "--seed", "2"],
    )
    assert parse(["dpo"]) == ("dpo", None, [])


@pytest.mark.parametrize("arguments", [[], ["--config", "a.yaml"], ["dpo", "--config"]])
def test_arguments_without_method_or_file_are_refused(arguments, capsys):
    def action(method, config_path, overrides):
        raise AssertionError("nothing may run")

    assert run_entry(arguments, action) == 2
    assert "alignkit: error:" in capsys.readouterr().err
    with pytest.raises(InputError):
        parse(arguments)


@pytest.mark.parametrize(
    "text, value", [("true", True), ("False", None), ("a/checkpoint-3", "a/checkpoint-3"), (None, None)]
)
def test_resume_argument_is_a_truth_value_or_a_folder(text, value):
    assert resume_argument(text) == value


@pytest.mark.parametrize("quantised", ["false", "true"], ids=["full-precision", "nf4"])
def test_training_goes_on_from_an_adapter_with_a_frozen_copy_as_reference(tmp_path, quantised):
    """The DPO loss is log 2 at the first step, so the reference is the adapter itself and not its base."""
    common = (
        "--model_name_or_path {} --dataset_name bundled/preference --report_to none --gradient_checkpointing false "
    )
    common += (
        "--per_device_train_batch_size 4 --save_strategy no --logging_steps 1 --beta 1 --output_dir {} --max_steps {}"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    lora = [
        "--use_peft",
        "--lora_target_modules",
        "all-linear",
        "--learning_rate",
        "1e-2",
        "--load_in_4bit",
        quantised,
    ]
    assert main(["dpo", *common.format("bundled/tiny-math", first, 3).split(), *lora]) == 0
    again = common.format(first, second, 1).split()
    assert main(["dpo", *again, "--load_in_4bit", quantised]) == 0
    (log,) = [
        item for item in json.loads((second / "trainer_state.json").read_text())["log_history"] if "loss" in item
    ]
    # On a 4-bit base TRL computes the trained adapter in bfloat16 and its frozen copy in float32.
    assert log["loss"] == pytest.approx(0.693147, abs=5e-3 if quantised == "true" else 1e-5)
    before = json.loads((first / "trainer_state.json").read_text())["log_history"]
    assert before[2]["loss"] < 0.6  # the adapter is far from its base, so the base as reference would show
    assert (second / "adapter_config.json").exists()
