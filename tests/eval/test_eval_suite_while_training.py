"""`--eval_suite` on the trainers of every family, from the command line."""

import json

import pytest

import alignkit.data
from alignkit.cli import main


COMMON = (
    "--model_name_or_path bundled/tiny-math --report_to none --gradient_checkpointing false --max_steps 2 "
    "--logging_steps 1 --save_strategy no --eval_strategy no --skip_check --use_cpu true --disable_tqdm true"
).split()
ONLINE = "--dataset_name bundled/math --per_device_train_batch_size 4 --num_generations 2 --max_completion_length 16"
REWARD = " --reward_funcs math_accuracy"
FAMILIES = {
    "dpo": "--dataset_name bundled/preference --per_device_train_batch_size 2",
    "grpo": ONLINE + REWARD,
    "ppo": ONLINE + REWARD,
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


def test_a_figure_of_a_suite_can_choose_the_best_checkpoint(tmp_path):
    rows = [json.dumps(row) + "\n" for row in alignkit.data.load("bundled/preference", "train").select(range(16))]
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / f"{split}.jsonl").write_text("".join(rows))
    flags = [*FAMILIES["dpo"].split(), *COMMON, "--output_dir", str(tmp_path), "--eval_suite", "tiny_math:4"]
    flags += ["--dataset_name", str(tmp_path / "data"), "--eval_suite_max_new_tokens", "3"]
    best = "--eval_strategy steps --eval_steps 1 --save_strategy best --metric_for_best_model eval_tiny_math/accuracy"
    small = "--per_device_eval_batch_size 16 --greater_is_better true"
    assert main(["train", "dpo", *flags, *best.split(), *small.split()]) == 0
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    figures, _ = logged(tmp_path)
    assert [step for step, _ in figures] == [0, 1, 2]
    assert [value for _, value in logged(tmp_path, "eval_tiny_math/tokens")[0]] == [3, 3, 3]
    assert [value for _, value in logged(tmp_path, "eval_tiny_math/truncated")[0]] == [1, 1, 1]
    assert state["best_metric"] == max(value for step, value in figures if step > 0)


def test_a_quantised_model_is_trained_as_without_a_suite(tmp_path):
    """On some processors bitsandbytes repacks 4-bit layers when they are evaluated, and these have no gradient."""
    steps = {}
    for name, measured in {"alone": [], "measured": ["--eval_suite", "tiny_math:2"]}.items():
        flags = [*FAMILIES["dpo"].split(), *COMMON, "--output_dir", str(tmp_path / name), *measured]
        adapter = "--use_peft --lora_target_modules all-linear --load_in_4bit true --learning_rate 1e-2"
        assert main(["train", "dpo", *flags, *adapter.split()]) == 0
        _, history = logged(tmp_path / name)
        steps[name] = [(entry["loss"], entry["grad_norm"]) for entry in history if "loss" in entry]
    assert steps["alone"] == steps["measured"] and len(steps["alone"]) == 2


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(tmp_path):
    values = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        flags = [*FAMILIES["dpo"].split(), *COMMON, "--output_dir", str(folder), "--eval_suite", "tiny_math:5"]
        launch = ["--num_processes", "2", "--main_process_port", "29871"] if processes == 2 else []
        assert main(["train", "dpo", *flags, *launch]) == 0
        values[processes], _ = logged(folder)
    assert values[1][0] == values[2][0] and [step for step, _ in values[2]] == [0, 2]


@pytest.mark.parametrize(
    ("method", "spec", "message"),
    [
        ("dpo", "tiny_mat:5", "did you mean tiny_math"),
        ("grpo", "alpaca_eval2:5", "only graded suites"),
        ("reward", "tiny_math:5", "no flag `--eval_suite` for reward"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_training(method, spec, message, capsys):
    assert main(["train", method, "--eval_suite", spec]) == 2
    assert message in capsys.readouterr().err


def test_a_suite_without_the_hook_that_measures_it_is_refused():
    from alignkit.config import load_run
    from alignkit.errors import InputError
    from alignkit.trainers.launch import train

    with pytest.raises(InputError, match=r"needs the hook `alignkit\.cli\.training\.measure_suites`"):
        train(load_run("dpo", None, ["--eval_suite", "tiny_math:5"]))
