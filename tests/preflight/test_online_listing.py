"""Parts and metrics as the command line shows them: complete, and without torch."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from alignkit.catalog.metrics import ONLINE_METRICS
from alignkit.cli import main
from alignkit.parts.listing import part_info, part_infos
from alignkit.parts.table import PARTS, load_part


def test_every_part_has_its_line_and_its_settings():
    from dataclasses import fields

    listed = list(part_infos())
    assert [(part.slot, part.name) for part in listed] == [(slot, name) for slot in PARTS for name in PARTS[slot]]
    for part in listed:
        assert part.summary
        assert [item.name for item in part.settings] == [
            item.name for item in fields(load_part(part.slot, part.name).Config)
        ]
        assert all(item.help for item in part.settings)


def test_defaults_are_those_of_the_code():
    (c,) = [item for item in part_info("policy_loss", "mhpo").settings if item.name == "c"]
    assert c.default == load_part("policy_loss", "mhpo").Config().c


def test_listing_imports_no_torch():
    code = "import sys; from alignkit.cli import main; main(['methods', 'parts']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_parts_of_one_slot_and_a_slot_that_is_not(capsys):
    assert main(["methods", "parts", "policy_loss"]) == 0
    output = capsys.readouterr().out
    assert "mhpo" in output and "lambda_neg" in output and "gdpo" not in output
    assert main(["methods", "parts", "loss"]) == 2
    assert "the slots are source, allocator" in capsys.readouterr().err


def test_an_online_method_shows_its_parts_and_every_metric(capsys):
    assert main(["methods", "show", "mhpo"]) == 0
    output = capsys.readouterr().out
    assert "policy_loss mhpo" in output
    assert all(name in output for name in ("frac_reward_zero_std", "mhpo/psi_mean", "completions/clipped_ratio"))


def test_the_guide_has_the_sentences_of_the_table():
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "online.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", guide.partition("## The metrics")[2], re.MULTILINE))
    assert listed == {name: sentence[0].upper() + sentence[1:] for name, sentence in ONLINE_METRICS.items()}


@pytest.fixture(scope="module")
def logged(bundled_model_dir, tmp_path_factory):
    """Names of all that a short run logs: with a reference, an entropy term and evaluation."""
    from alignkit import OnlineConfig, OnlineTrainer
    from alignkit.data import load

    args = OnlineConfig(
        output_dir=str(tmp_path_factory.mktemp("logged")),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        reward_funcs=["exact_answer", "boxed_once"],
        reward_shaping={"name": "conditioned", "target": "boxed_once", "condition": "exact_answer"},
        beta=0.1,
        entropy_coef=0.01,
        max_steps=1,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    data = load("bundled/math", split="train[:4]")
    trainer = OnlineTrainer(bundled_model_dir, args=args, train_dataset=data, eval_dataset=data.select(range(1)))
    trainer.train()
    return {name.removeprefix("eval_") for entry in trainer.state.log_history for name in entry}


def test_every_metric_of_a_run_has_its_sentence(logged):
    patterns = [name.replace("NAME", "*").replace("KIND", "*") for name in ONLINE_METRICS]
    of_transformers = {"epoch", "step", "learning_rate", "total_flos"}
    own = {name for name in logged if not name.startswith(("train_",)) and not name.endswith("_per_second")}
    own -= of_transformers | {"runtime"}
    assert {name for name in own if not any(fnmatch(name, pattern) for pattern in patterns)} == set()
    assert {"kl", "entropy_coef", "reward", "step_time", "reward_shaping/raw/exact_answer/mean"} <= own
