"""`alignkit check` for the methods that generate: what it shows, warns of and refuses."""

import json

import pytest

from alignkit.cli import main


BASE = {
    "dataset_name": "bundled/math",
    "model_name_or_path": "bundled/tiny-math",
    "reward_funcs": "exact_answer",
    "per_device_train_batch_size": "8",
    "num_generations": "4",
    "max_completion_length": "32",
}


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """Run `alignkit check` and return (exit code, output, errors); a flag whose value is None is left out."""

    def run(method: str = "online", *more: str, **flags) -> tuple[int, str, str]:
        given = [text for name, value in (BASE | flags).items() if value is not None for text in (f"--{name}", value)]
        code = main(["check", method, "--output_dir", str(tmp_path / "out"), *given, *more])
        return code, *capsys.readouterr()

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    return run


@pytest.fixture
def rows_file(tmp_path):
    def write(*rows: dict) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_a_good_run_shows_every_part_and_loads_no_weight(check, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a weight was loaded")

    monkeypatch.setattr("transformers.modeling_utils.PreTrainedModel.from_pretrained", refuse)
    code, output, errors = check("mhpo", "--use_peft", "--world-size", "2", num_iterations="2")
    assert code == 0, errors
    assert "1,200 of 1,200 rows checked" in output and "columns read: prompt, answer" in output
    assert "<|im_start|>user" in output and "<|im_start|>assistant" in output
    assert "tokens; the completion follows, until '<|im_end|>' or after 32 tokens" in output
    assert "1 for the rows' own solutions, 0 for a dummy completion (reads answer)" in output
    assert "x 2 processes = 16 completions, 4 to each of 4 prompts" in output
    assert "1,200 rows = 300 generation batches = 600 updates per epoch" in output
    assert "updates are not all on-policy" in output
    assert "policy_loss    mhpo" in output and "c: 1.5" in output
    assert "none: beta is 0" in output
    assert output.rstrip().endswith("Ready: alignkit train mhpo")


def test_a_run_that_only_several_processes_can_share_out_is_planned_for_them(check):
    code, _, errors = check(per_device_train_batch_size="1", gradient_accumulation_steps="2")
    assert code == 2 and "divisible by num_generations" in errors
    code, output, errors = check("online", "--world-size", "4", per_device_train_batch_size="1")
    assert code == 0, errors
    assert "1 completion per process" in output and "x 4 processes = 4 completions" in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"reward_funcs": None}, "`reward_funcs` is missing"),
        ({"reward_funcs": "exact_anser"}, "did you mean exact_answer"),
        ({"dataset_name": "bundled/sft"}, "the column `answer` is missing"),
        ({"model_name_or_path": "./nowhere"}, "there is no such folder"),
        ({"per_device_train_batch_size": "8000"}, "1200 rows do not fill one generation batch of 2000 prompts"),
        ({"dataset_streaming": "true"}, "set `max_steps` to the number of updates"),
        ({"reward_weights": "1,2"}, "has 2 weights for 1 reward functions"),
        ({"advantage": "gdpoo"}, "did you mean gdpo"),
    ],
)
def test_what_would_fail_is_named_and_exits_with_2(flags, message, check):
    code, _, errors = check(**flags)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


def test_a_bad_prompt_is_named_by_its_row(check, rows_file):
    rows = rows_file({"prompt": "1 + 1?", "answer": "2"}, {"prompt": "", "answer": "3"})
    code, _, errors = check(dataset_name=rows)
    assert code == 2
    assert "rows.jsonl, line 2, field `prompt`" in errors


def test_rows_that_a_reward_can_not_read_are_a_warning(check, rows_file):
    rows = [{"prompt": f"{n} + 1?", "answer": str(n + 1) if n != 5 else ""} for n in range(1, 9)]
    code, output, errors = check(dataset_name=rows_file(*rows))
    assert code == 0, errors
    assert "`answer`, which a reward reads, is empty in 1 rows (first: row 4, counted from 0)" in output


def test_prompts_without_room_for_their_completion_are_counted(check, rows_file):
    rows = [{"prompt": f"{'word ' * (100 if n else 1)}{n}?", "answer": "2"} for n in range(4)]
    code, output, errors = check(dataset_name=rows_file(*rows), max_completion_length="100")
    assert code == 0, errors
    assert "3 of 4 sampled prompts leave less than `max_completion_length` (100) of the 512 positions" in output


def test_a_prompt_that_already_ends_is_a_warning(check, rows_file):
    rows = [{"prompt": "1 + 1?<|im_end|>", "answer": "2"} for _ in range(4)]
    _, output, _ = check(dataset_name=rows_file(*rows))
    assert "4 of 4 sampled prompts end with '<|im_end|>'" in output


def test_a_model_that_is_not_reachable_is_skipped_with_the_reason(check):
    code, output, _ = check(model_name_or_path="nobody/no-such-model")
    assert code == 0
    assert "skipped, nobody/no-such-model is neither a local folder nor reachable" in output
    assert "Batches" in output and "Rewards, on a few rows" in output


def test_evaluation_during_training_is_told(check):
    flags = {"eval_strategy": "steps", "eval_steps": "20", "per_device_eval_batch_size": "8"}
    code, output, errors = check("online", "--dataset_test_split", "train[:16]", **flags)
    assert code == 0, errors
    assert "evaluation every 20 updates: 16 rows, 4 completions to each" in output


def test_a_streamed_run_is_checked_on_its_first_rows(check):
    code, output, errors = check(dataset_streaming="true", max_steps="10")
    assert code == 0, errors
    assert "updates per epoch: unknown while streaming" in output and "10 updates in all" in output


def test_the_recipe_of_combined_parts_passes(check):
    from alignkit.config import recipe_path

    code = main(["check", "online", "--config", str(recipe_path("online"))])
    assert code == 0
