"""lm-eval's tasks on the same model and in the same report, where the extra is installed."""

import json
from importlib.util import find_spec

import pytest

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.eval.results import read_results
from alignkit.eval.runner import split_suites
from alignkit.eval.suites import load_suite


needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="the extra lm-eval is not installed")
TASK = """\
task: tiny_local
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["1", "2", "3"]
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
"""


def test_commas_part_suites_and_tasks():
    assert split_suites("math500,lm_eval:ifeval,mmlu,gsm8k") == ["math500", "lm_eval:ifeval,mmlu", "gsm8k"]
    assert split_suites("gsm8k, gsm8k") == ["gsm8k"]
    assert load_suite("lm_eval:ifeval,mmlu").kind == "lm_eval"
    with pytest.raises(InputError, match="names no suite"):
        split_suites(" ,")


def test_without_the_extra_the_suite_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("alignkit.eval.lm_eval_tasks.running.find_spec", lambda name: None)
    assert main(["eval", "bundled/tiny-math", "--suite", "lm_eval:ifeval", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "alignkit[lm-eval]"' in capsys.readouterr().err and not (tmp_path / "out").exists()


@needs_lm_eval
@pytest.mark.slow
def test_a_task_runs_on_model_and_adapter_and_is_not_run_twice(tmp_path, bundled_model_dir, capsys, monkeypatch):
    from tiny_qwen import save_adapter

    adapter = save_adapter(tmp_path / "adapter", bundled_model_dir)
    rows = [{"question": f"{number} + 1 =", "answer": number} for number in (0, 1, 2, 1)]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tiny.yaml").write_text(TASK.format(data=data))
    out = tmp_path / "out"
    flags = ["--task_folder", str(tmp_path / "tasks"), "--limit", "3", "--out", str(out), "--num_workers", "1"]
    arguments = ["eval", bundled_model_dir, adapter, "--suite", "lm_eval:tiny_local,tiny_math", *flags]
    assert main([*arguments, "--no_chat_template"]) == 0
    results = read_results(out / "lm_eval-tiny_local")
    assert [model.adapter for model in results.models] == [False, True]
    for model in results.models:
        assert 0 <= model.metrics["tiny_local acc"]["value"] <= 1
    samples = list((out / "lm_eval-tiny_local" / "lm_eval").glob("*/samples_tiny_local.jsonl"))
    assert len(samples) == 2 and len(samples[0].read_text().splitlines()) == 3
    assert "tiny_local acc" in (out / "report.html").read_text() and "Tiny math" in (out / "report.md").read_text()
    monkeypatch.setattr("alignkit.eval.lm_eval_tasks.running.evaluate_run", None)
    assert main([*arguments, "--no_chat_template"]) == 0
    capsys.readouterr()
    unknown = ["eval", bundled_model_dir, "--suite", "lm_eval:tiny_loca", *flags[:4], "--out", str(tmp_path / "other")]
    assert main(unknown) == 2
    assert "did you mean tiny_local" in capsys.readouterr().err
