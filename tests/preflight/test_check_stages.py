"""`alignkit check` for what trains several times: loops, two-stage MPO, fronts."""

import json

import pytest

from alignkit.cli import main
from alignkit.config import recipe_path
from alignkit.trainers.iterative import LOOPS


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """Run `alignkit check` and return (exit code, output, errors); nothing may be written."""

    def run(method: str, *flags: str) -> tuple[int, str, str]:
        folder = tmp_path / "out"
        code = main(["check", method, "--output_dir", str(folder), *flags])
        assert not folder.exists()
        return code, *capsys.readouterr()

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    return run


def recipe(name: str) -> list[str]:
    return ["--config", str(recipe_path(name))]


@pytest.mark.parametrize("key", LOOPS)
def test_a_loop_shows_its_plan_and_the_memory_of_an_iteration(key, check, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a weight was loaded")

    monkeypatch.setattr("transformers.modeling_utils.PreTrainedModel.from_pretrained", refuse)
    code, output, _ = check(key, *recipe(f"{key}-loop"))
    assert code == 0 and f"Ready: alignkit loop {key}" in output
    assert "384 prompts in 3 iterations, 128 each" in output and "128 evaluation prompts" in output
    # (4 or, with a teacher, 5 responses) * 384 prompts, and one to each of 128 prompts by 4 policies.
    assert f"the judge is asked for {384 * (5 if key == 'dno' else 4) + 4 * 128:,} scores" in output
    assert "Memory per device" in output and "fits" in output
    assert ("128 pairs = 16 updates per epoch" in output) == (key != "dno")


def test_a_paid_judge_says_what_it_may_cost(check, tmp_path):
    spec = {"judge": "llm", "model": "m", "prices": {"m": {"prompt": 1.0, "completion": 1.0}}}
    (tmp_path / "judge.json").write_text(json.dumps(spec))
    code, output, _ = check("sppo", *recipe("sppo-loop"), "--judge", str(tmp_path / "judge.json"))
    # 384 prompts * 6 pairs and 3 evaluations of 128 prompts against two policies, each in both orders.
    assert code == 0 and f"cost: m: {2 * (384 * 6 + 3 * 128 * 2):,} requests" in output


def test_mpo_shows_both_stages(check):
    code, output, _ = check("mpo", *recipe("mpo"), "--reward", "length")
    assert code == 0 and "Ready: alignkit loop mpo" in output
    assert "2,400 of 2,400 rows checked" in output and "stage select: 2,400 pairs scored by `reward` length" in output
    assert "stage rl: 30 updates" in output and "64 responses per update, 4 to each prompt" in output


def test_a_front_shows_one_point_and_how_many_there_are(check):
    code, output, _ = check("modpo", *recipe("modpo-front"))
    assert code == 0 and "Ready: alignkit front modpo" in output
    assert "5 points" in output and "answer 400 prompts of bundled/math_eval" in output


@pytest.mark.parametrize(
    ("method", "flags", "message"),
    [
        ("dpo", [*recipe("dpo-loop"), "--judge", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        ("dpo", [*recipe("dpo-loop"), "--judge", "./nowhere"], "./nowhere"),
        ("dpo", [*recipe("dpo-loop"), "--model_name_or_path", "./nowhere"], "there is no such folder"),
        ("dno", [*recipe("dno-loop"), "--gold_column", "teacher"], "'teacher'"),
        ("dpo", [*recipe("dpo-loop"), "--num_generation", "4"], "no flag `--num_generation`"),
        ("apo_accelerated", [*recipe("apo_accelerated-loop"), "--use_dora"], "`use_dora`"),
        ("mpo", recipe("mpo"), "`reward`"),
        ("mpo", [*recipe("mpo"), "--reward", "length", "--rl", '{"num_generation": 2}'], "no field `num_generation`"),
        ("modpo", [*recipe("modpo-front"), "--eval_dataset_name", "bundled/other"], "bundled/other"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(check, method, flags, message):
    code, _, errors = check(method, *flags)
    lines = [line for line in errors.splitlines() if line.startswith("alignkit: error: ")]
    assert code == 2 and any(message in line for line in lines), errors


@pytest.mark.parametrize("name", [*(f"{key}-loop-full" for key in LOOPS), "mpo-full"])
def test_full_size_recipes_are_read_and_an_unreachable_hub_is_said_plainly(check, name):
    """Offline neither their model nor their data can be had: that is all that is wrong with them."""
    code, output, errors = check(name.removesuffix("-full").removesuffix("-loop"), *recipe(name))
    (line,) = [line for line in errors.splitlines() if line.startswith("alignkit: error: ")]
    assert code == 2 and ("from the Hub failed" in line or "outputs/data/hh.jsonl: there is no such file" in line)
    assert "Qwen/Qwen3-8B is neither a local folder nor reachable on the Hub" in output
