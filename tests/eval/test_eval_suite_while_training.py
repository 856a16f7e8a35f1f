"""`--eval_suite` on the trainers of every family, from the command line."""

import json

import pytest

from alignkit.cli import main


COMMON = (
    "--model_name_or_path bundled/tiny-math --report_to none --gradient_checkpointing false --max_steps 2 "
    "--logging_steps 1 --save_strategy no --eval_strategy no --skip_check --use_cpu true --disable_tqdm true"
).split()
ONLINE = "--dataset_name bundled/math --per_device_train_batch_size 4 --num_generations 2 --max_completion_length 16"
REWARD = " --reward_funcs accuracy"
FAMILIES = {
    "dpo": "--dataset_name bundled/preference --per_device_train_batch_size 2",
    "grpo": ONLINE + REWARD,
    "ppo": ONLINE + REWARD,
    "copo": ONLINE + REWARD,
}


def logged(folder, name="eval_tiny_math/accuracy"):
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [(entry["step"], entry[name]) for entry in history if name in entry], history


@pytest.mark.parametrize("method", FAMILIES)
def test_a_suite_is_measured_in_every_family_without_an_evaluation_data_set(method, tmp_path):
    flags = [*FAMILIES[method].split(), *COMMON, "--output_dir", str(tmp_path), "--learning_rate", "1e-6"]
    assert main(["train", method, *flags, "--eval_suite", "tiny_math:4", "--eval_steps", "1"]) == 0
    figures, history = logged(tmp_path)
    assert [step for step, _ in figures] == [0, 1, 2]
    assert all(0 <= value <= 1 for _, value in figures)
    # The trainer's own entries are all there, each of its own step.
    assert [entry["step"] for entry in history if "loss" in entry] == [1, 2]
