"""The bundled model and an adapter on it, through the command line; killed in the middle and started again."""

import json
import multiprocessing
import signal
import sys
import time

import pytest
from tiny_qwen import save_adapter

from alignkit.cli import main
from alignkit.eval import Results


FLAGS = [
    "--suite",
    "tiny_math",
    "--limit",
    "24",
    "--max_new_tokens",
    "24",
    "--batch_size",
    "4",
    "--num_workers",
    "1",
    "--num_resamples",
    "500",
]


def figures(folder):
    values = Results.read(folder).to_dict()
    return {key: values[key] for key in ("models", "comparisons")}


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has torch loaded")
def test_killed_run_goes_on_where_it_stopped_and_gives_the_same_figures(tmp_path, bundled_model_dir):
    adapter = save_adapter(tmp_path / "adapter", bundled_model_dir)
    command = ["eval", adapter, "--compare", "bundled/tiny-math", *FLAGS, "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    whole = figures(tmp_path / "whole")
    assert [model["adapter"] for model in whole["models"]] == [False, True]
    assert whole["models"][0]["n"] == 24 and whole["comparisons"][0]["n"] == 24

    killed = tmp_path / "killed"
    # A fork has torch loaded already; what dies is a real process in the middle of generating.
    process = multiprocessing.get_context("fork").Process(target=main, args=([*command, str(killed)],))
    process.start()
    deadline = time.monotonic() + 240
    while process.is_alive() and count_lines(killed) < 8 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = read_lines(killed)
    assert done
    assert main([*command, str(killed)]) == 0
    assert read_lines(killed)[: len(done)] == done
    assert count_lines(killed) == count_lines(tmp_path / "whole") == 48
    assert figures(killed) == whole


def read_lines(folder):
    """Complete records of the model that is evaluated first."""
    files = sorted((folder / "generations").glob("*.jsonl"), key=lambda path: path.stat().st_ctime_ns)
    lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [json.loads(line) for line in lines if json.loads(line)["model"] == "bundled/tiny-math"]


def count_lines(folder):
    files = (folder / "generations").glob("*.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files)


def test_manifest_accuracy_is_what_the_harness_measures(tmp_path, bundled_model_dir):
    from alignkit.data.bundled import BUNDLED_FOLDER

    stated = json.loads((BUNDLED_FOLDER / "MANIFEST.json").read_text())["greedy_accuracy_on_math_eval"]
    arguments = ["eval", "bundled/tiny-math", "--suite", "tiny_math", "--num_workers", "1", "--batch_size", "100"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    model = Results.read(tmp_path / "out").models[0]
    assert model.n == 400 and abs(model.accuracy - stated) < 0.006


def test_missing_models_end_in_one_sentence(tmp_path, capsys):
    out = ["--suite", "tiny_math", "--out", str(tmp_path / "out")]
    for model, message in ((str(tmp_path / "none"), "does not exist"), (str(tmp_path), "neither config.json")):
        assert main(["eval", model, *out]) == 2
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()
