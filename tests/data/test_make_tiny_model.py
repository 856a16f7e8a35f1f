import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parents[2] / "data" / "make_tiny_model.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_tiny_model", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path


SMALL = ["--steps", "3", "--batch-size", "4", "--threads", "1", "--pairs", "6", "--math", "5", "--sft", "4"]


def make(script, folder):
    args = script.build_parser().parse_args([*SMALL, "--math-eval", "5", "--output", str(folder)])
    script.make(args)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_rerun_writes_the_same_bytes(script, tmp_path):
    import torch

    threads = torch.get_num_threads()
    try:
        first, second = make(script, tmp_path / "first"), make(script, tmp_path / "second")
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    assert first == second
    assert {"math.jsonl", "model/model.safetensors", "MANIFEST.json"} <= set(first)
    assert first["preference.jsonl"].count(b"\n") == 6


def test_text_of_the_bundled_sets_is_what_the_script_draws(script):
    from alignkit.data.bundled import BUNDLED_FOLDER

    arguments = json.loads((BUNDLED_FOLDER / "MANIFEST.json").read_text(encoding="utf-8"))["arguments"]
    args = script.build_parser().parse_args([])
    for name, value in arguments.items():
        setattr(args, name, value)
    drawn = script.draw_all(args)
    for name, to_row in {"math": script.math_row, "math_eval": script.math_row, "sft": script.sft_row}.items():
        lines = (BUNDLED_FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert lines[:50] == [json.dumps(to_row(problem)) for problem in drawn[name][:50]]
    lines = (BUNDLED_FOLDER / "math_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines == list(map(json.dumps, script.task_rows(drawn["math"])))


def test_splits_never_share_arithmetic(script):
    from tiny.problems import draw_problem, split_of

    rng = random.Random(0)
    for split in ("eval", "align", "pretrain"):
        assert all(split_of(draw_problem(rng, split).key) == split for _ in range(200))
    args = script.build_parser().parse_args(["--pairs", "50", "--math", "50", "--sft", "50", "--math-eval", "50"])
    keys = [problem.key for problems in script.draw_all(args).values() for problem in problems]
    assert len(keys) == len(set(keys))


def test_intermediate_results_are_never_negative_and_styles_agree(script):
    from tiny.problems import draw_problem
    from tiny.sampling import boxed_answer

    rng = random.Random(1)
    for _ in range(300):
        problem = draw_problem(rng, "align")
        assert all(int(step.split("=")[1]) >= 0 for step in problem.steps)
        assert boxed_answer(problem.worked) == boxed_answer(problem.terse) == problem.answer
        assert len(problem.worked) <= 48


def test_scored_labels_follow_the_reward(script):
    from tiny.problems import draw_distinct

    problems = draw_distinct(3, 1500, "align")
    samples = [[problem.worked, "\\boxed{0}", "\\boxed{999}"] for problem in problems]
    rows = script.scored_rows(problems, samples, 1500, seed=4)
    assert rows == script.scored_rows(problems, samples, 1500, seed=4)
    margins = [row["reward_margin"] for row in rows]
    # Right minus wrong is normal around 5, which label noise hardly moves.
    different = [row["reward_margin"] for row in rows if row["chosen_correctness"] > row["rejected_correctness"]]
    assert sum(different) / len(different) == pytest.approx(5.0, abs=0.3)
    assert 0.005 < sum(margin < 0 for margin in margins) / len(margins) < 0.15
