"""The commands of the README, as a user types them, from one folder to the next."""

import json
import re
from pathlib import Path

import pytest

from alignkit.cli import main


README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """`alignkit demo`, run once."""
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(out)]) == 0
    return out


def test_demo_beats_the_bundled_model(demo):
    summary = json.loads((demo / "summary.json").read_text())
    assert set(summary) == {
        "accuracy_before",
        "accuracy_after",
        "difference_ci_low",
        "difference_ci_high",
        "adapter_dir",
        "export_dir",
        "report",
    }
    assert 0.35 <= summary["accuracy_before"] <= 0.65
    assert summary["accuracy_after"] >= summary["accuracy_before"] + 0.10
    assert summary["difference_ci_low"] > 0
    assert Path(summary["report"]).read_text().lower().startswith("<!doctype html")


def test_the_exported_adapter_loads_with_peft_and_answers_the_same(demo):
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    summary = json.loads((demo / "summary.json").read_text())
    folder = summary["export_dir"]
    model = AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    records = [
        json.loads(line)
        for path in (demo / "eval").rglob("*.jsonl")
        if "generat" in path.name or "generat" in str(path.parent)
        for line in path.read_text().splitlines()
    ]
    from alignkit.data import load

    rows = load("bundled/math_eval", split="train[:8]")
    texts = {record["text"] for record in records}
    for row in rows:
        inputs = tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        answer = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert answer.strip() in {text.strip() for text in texts}


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    short = code.replace("num_train_epochs=1", 'max_steps=1, report_to="none", per_device_train_batch_size=2')
    assert short != code
    exec(compile(short, "README.md", "exec"), {"__name__": "readme"})
    assert (tmp_path / "outputs" / "madpo" / "adapter_model.safetensors").exists()


def test_config_copy_check_train_resume_eval_export(tmp_path, monkeypatch, capsys):
    """The walk of a user, one command after the other, with one training step between two runs of `train`."""
    monkeypatch.chdir(tmp_path)
    assert main(["config", "copy", "madpo"]) == 0
    short = ["--max_steps", "1", "--save_steps", "1", "--per_device_train_batch_size", "4"]
    assert main(["check", "madpo", "--config", "madpo.yaml", *short]) == 0
    assert main(["train", "madpo", "--config", "madpo.yaml", *short, "--load_in_4bit", "false"]) == 0
    resumed = [*short, "--load_in_4bit", "false", "--resume_from_checkpoint", "true", "--skip_check"]
    resumed[1] = "2"
    assert main(["train", "madpo", "--config", "madpo.yaml", *resumed]) == 0
    checkpoints = sorted(path.name for path in Path("outputs/madpo").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-1", "checkpoint-2"]
    evaluate = ["eval", "outputs/madpo", "--suite", "tiny_math", "--limit", "4", "--out", "outputs/eval"]
    assert main([*evaluate, "--compare", "bundled/tiny-math"]) == 0
    export = ["export", "outputs/madpo/checkpoint-2", "--out", "outputs/export", "--merge"]
    assert main([*export, "--eval-results", "outputs/eval/results.json"]) == 0
    assert Path("outputs/export/model.safetensors").exists()
    assert "2510.05342" in Path("outputs/export/README.md").read_text()


def test_label_margins_from_a_trained_reward_model(tmp_path, monkeypatch):
    """`train reward` -> `label margins` -> a column that MADPO takes."""
    monkeypatch.chdir(tmp_path)
    assert main(["config", "copy", "reward"]) == 0
    short = ["--max_steps", "1", "--save_strategy", "no", "--per_device_train_batch_size", "4", "--skip_check"]
    assert main(["train", "reward", "--config", "reward.yaml", *short]) == 0
    label = ["label", "margins", "--dataset", "bundled/preference", "--limit", "8", "--model", "outputs/reward"]
    assert main([*label, "--out", "margins.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("margins.jsonl").read_text().splitlines()]
    assert len(rows) == 8 and all(isinstance(row["reward_margin"], float) for row in rows)
    madpo = ["--dataset_name", "margins.jsonl", "--model_name_or_path", "bundled/tiny-math", "--report_to", "none"]
    madpo += ["--max_steps", "1", "--per_device_train_batch_size", "2", "--gradient_checkpointing", "false"]
    assert main(["train", "madpo", *madpo]) == 0


@pytest.mark.parametrize("command", [["methods"], ["methods", "show", "modpo"], ["config", "list"]])
def test_light_commands_answer(command, capsys):
    assert main(command) == 0
    assert "modpo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command, part",
    [
        (["train", "madpoo"], "madpo"),
        (["train", "madpo", "--bta", "1"], "`beta`"),
        (["train", "mpo"], "alignkit loop mpo"),
        (["loop", "mpo", "--threshold", "-1"], "`threshold` is -1.0"),
        (["loop", "madpo"], "has no loop"),
        (["methods", "show", "xyz"], "known methods"),
        (["config", "copy", "nothing"], "recipe"),
        (["check", "dpo", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(command, part, capsys):
    assert main(command) == 2
    error = capsys.readouterr().err
    assert part in error and "Traceback" not in error
