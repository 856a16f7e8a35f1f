"""`alignkit check`: what it shows, what it refuses, what it skips, without loading a weight."""

import json

import pytest

from alignkit.cli import main


BASE = ["--dataset_name", "bundled/preference_scored", "--model_name_or_path", "bundled/tiny-math"]


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """Run `alignkit check` and return (exit code, output, errors)."""

    def run(method: str, *flags: str) -> tuple[int, str, str]:
        code = main(["check", method, "--output_dir", str(tmp_path / "out"), *flags])
        return code, *capsys.readouterr()

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    return run


@pytest.mark.parametrize("method", ["dpo", "madpo", "modpo"])
def test_a_good_run_shows_every_part_and_loads_no_weight(method, check, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a weight was loaded")

    monkeypatch.setattr("transformers.modeling_utils.PreTrainedModel.from_pretrained", refuse)
    code, output, _ = check(method, *BASE, "--use_peft", "--per_device_train_batch_size", "4", "--world-size", "2")
    assert code == 0
    assert "2,400 of 2,400 rows checked" in output
    assert "⟦" in output and "boxed" in output
    assert "4 pairs per device x 1 accumulation x 2 processes = 8 pairs per update" in output
    assert "2,400 pairs = 300 updates per epoch" in output
    assert "the base model without its adapter" in output


def test_trained_tokens_are_coloured_on_a_terminal():
    from rich.console import Console

    from alignkit.preflight.rendering import RenderedSequence
    from alignkit.preflight.report import sequence_text

    sequence = RenderedSequence("chosen", (("context [/x]", False), ("trained\nlines", True)), 3, 2, 0)
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as capture:
        console.print(sequence_text(sequence, coloured=True))
    assert "\x1b[2mcontext [/x]\x1b[0m" in capture.get() and "\x1b[1;32mtrained" in capture.get()
    assert sequence_text(sequence, coloured=False).plain == "    context [/x]⟦trained\n    lines⟧"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bettta", "1"], "there is no flag `--bettta`"),
        (["--beta", "-1"], "`beta` is -1.0"),
        (["--model_name_or_path", "./nowhere"], "there is no such folder"),
        (["--dataset_name", "bundled/preference"], "the column `reward_margin` is missing"),
        (["--dataset_train_split", "trian"], "no split 'trian'; present: train"),
        (["--eval_strategy", "epoch"], "no split 'test'; present: train"),
        (["--load_in_4bit"], "a quantised model cannot be trained in full"),
        (["--use_peft", "--lora_target_modules", "q_projection"], "`lora_target_modules` does not fit"),
        (["--dataset_streaming"], "set `max_steps` to the number of updates"),
        (["--max_length", "4"], "every sampled pair is dropped"),
        (["--world-size", "0"], "`--world-size` is 0"),
    ],
)
def test_what_would_fail_is_named_and_exits_with_2(flags, message, check):
    code, _, errors = check("madpo", *BASE, *flags)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


def test_every_problem_of_a_run_is_reported_at_once(check):
    code, _, errors = check("madpo", "--dataset_name", "bundled/preference", "--model_name_or_path", "./nowhere")
    assert code == 2
    assert errors.count("alignkit: error: ") == 2


def test_a_model_that_is_not_reachable_is_skipped_with_the_reason(check):
    code, output, _ = check("madpo", *BASE, "--model_name_or_path", "nobody/no-such-model")
    assert code == 0
    assert (
        "Rendered example and memory: skipped, nobody/no-such-model is neither a local folder nor reachable" in output
    )
    assert "Batches" in output


def test_a_run_may_start_from_an_adapter(check, bundled_model_dir, tmp_path):
    """The example and the memory are those of its base, with the adapter's own rank."""
    adapter = {"base_model_name_or_path": bundled_model_dir, "r": 8, "target_modules": ["q_proj", "v_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    code, output, errors = check("madpo", *BASE, "--model_name_or_path", str(tmp_path))
    assert code == 0, errors
    assert "adapter  " in output and "the base model without its adapter" in output


@pytest.mark.parametrize("content", ["{}", "{"], ids=["no-base", "not-json"])
def test_an_adapter_without_a_base_is_named(check, tmp_path, content):
    (tmp_path / "adapter_config.json").write_text(content)
    code, _, errors = check("madpo", *BASE, "--model_name_or_path", str(tmp_path))
    assert code == 2 and "adapter_config.json" in errors


def test_pairs_above_max_length_are_a_warning(check):
    code, output, _ = check("madpo", *BASE, "--max_length", "80")
    assert code == 0
    assert "an `max_length` (80) and lose their end" in output


def test_a_run_on_another_device_is_planned(check):
    code, output, _ = check("dpo", *BASE, "--world-size", "64", "--sharding", "zero3", "--device-memory", "0.05")
    assert code == 0
    assert "zero3 over 64 processes" in output
    assert "does not fit: a device of 0.05 GiB" in output and "suggestion: " in output


def test_a_streamed_run_is_checked_on_its_first_rows(check):
    code, output, _ = check("madpo", *BASE, "--dataset_streaming", "--max_steps", "10")
    assert code == 0
    assert "updates per epoch: unknown while streaming" in output
    assert "10 updates in all" in output


def test_the_columns_of_the_run_decide_not_those_of_the_method(check):
    flags = ["--weights", "0.5", "0.5", "--margin_models", "bundled/tiny-math"]
    code, output, _ = check("modpo", *BASE, "--dataset_name", "bundled/preference", *flags)
    assert code == 0
    assert "columns read: prompt, chosen, rejected\n" in output


def test_a_reward_model_reads_whole_sequences(check):
    code, output, _ = check("reward", *BASE, "--max_length", "80")
    assert code == 0
    assert "chosen: 0 tokens of context" in output
    assert "0.0% above max_length (cut)" in output
    assert "Memory: skipped" in output
