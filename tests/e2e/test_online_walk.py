"""The walk of a user with an online method: recipe, check, train, stop, resume, evaluate, export; and bad input."""

import json
from pathlib import Path

import pytest

from alignkit.catalog import METHODS
from alignkit.cli import main
from alignkit.config.recipes import recipes


SHORT = ["--per_device_train_batch_size", "8", "--num_generations", "4", "--max_completion_length", "24"]
KEYS = [method.key for method in METHODS.values() if method.family == "online"]


def test_copy_check_train_resume_eval_export(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "copy", "mhpo"]) == 0
    short = [*SHORT, "--save_steps", "1", "--num_iterations", "2", "--log_completions", "true"]
    assert main(["check", "mhpo", "--config", "mhpo.yaml", *short, "--max_steps", "1"]) == 0
    assert main(["train", "mhpo", "--config", "mhpo.yaml", *short, "--max_steps", "1", "--skip_check"]) == 0
    resume = ["--max_steps", "2", "--resume_from_checkpoint", "true", "--skip_check"]
    assert main(["train", "mhpo", "--config", "mhpo.yaml", *short, *resume]) == 0
    assert sorted(path.name for path in Path("outputs/mhpo").glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert list(Path("outputs/mhpo/completions").glob("*.parquet"))
    assert main(["eval", "outputs/mhpo", "--suite", "tiny_math", "--limit", "4", "--out", "outputs/eval"]) == 0
    assert main(["export", "outputs/mhpo", "--out", "outputs/export"]) == 0
    assert "2603.16929" in Path("outputs/export/README.md").read_text()


def test_a_yaml_that_mixes_parts_trains_with_qlora(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mix.yaml").write_text(
        "model_name_or_path: bundled/tiny-math\n"
        "dataset_name: bundled/math\n"
        "load_in_4bit: true\nuse_peft: true\nlora_r: 4\nlora_target_modules: all-linear\n"
        "reward_funcs:\n  - math_accuracy\n  - {name: brevity, weight: 0.2, max_completion_length: 24}\n"
        "advantage: {name: gdpo, batch_normalize: false}\n"
        "policy_loss: {name: mhpo, c: 1.0}\n"
        "reward_shaping: {name: conditioned, target: brevity, condition: math_accuracy}\n"
        "num_iterations: 2\nmax_steps: 2\nlogging_steps: 1\nsave_strategy: 'no'\nreport_to: none\n"
        "gradient_checkpointing: false\noutput_dir: out\n"
    )
    assert main(["train", "online", "--config", "mix.yaml", *SHORT]) == 0
    facts = json.loads(Path("out/alignkit_run.json").read_text())
    assert facts["config"]["policy_loss"] == {"name": "mhpo", "c": 1.0} and facts["config"]["load_in_4bit"]
    assert Path("out/adapter_model.safetensors").exists()


@pytest.mark.parametrize("key", KEYS)
def test_every_method_has_its_recipes_page_and_picture(key):
    root = Path(__file__).parents[2]
    assert {key, f"{key}-full"} <= set(recipes())
    page = (root / "docs" / "methods" / f"{'grpo' if key == 'online' else key}.md").read_text()
    assert METHODS[key].arxiv in page or key == "online"
    for name in METHODS[key].metrics:
        assert f"`{name}`" in page, name


@pytest.mark.parametrize(
    "given, part",
    [
        (["--policy_loss", "mhpoo"], "did you mean mhpo"),
        (["--policy_loss", '{"name": "mhpo", "c": -1}'], "`c` is -1"),
        (["--policy_loss", '{"name": "mhpo", "d": 1}'], "no setting `d`"),
        (["--policy_loss", "mhpo", "--delta", "2"], "`delta` is 2.0"),
        (["--policy_loss", "copo"], "needs global_advantages"),
        (["--advantage", "copo"], "answer_extractor"),
        (["--advantage", "gdpo", "--policy_loss", "mhpo", "--scale_rewards", "batch"], "`scale_rewards` is 'batch'"),
        (["--reward_funcs", "math_acuracy"], "math_accuracy"),
        (["--num_generations", "3"], "num_generations"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(given, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    base = ["train", "online", "--model_name_or_path", "bundled/tiny-math", "--dataset_name", "bundled/math"]
    rewards = [] if "--reward_funcs" in given else ["--reward_funcs", "math_accuracy"]
    assert main([*base, *rewards, "--report_to", "none", *given]) == 2
    message = capsys.readouterr().err.strip()
    assert part in message and "\n" not in message.split("alignkit: error: ")[-1]
