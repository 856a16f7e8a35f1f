"""What the diffusion trainers refuse before the first step, and in which words."""

import re
import subprocess
import sys

import pytest
import tiny_pipelines

from alignkit.cli import main
from alignkit.config import load_run
from alignkit.errors import InputError


@pytest.fixture
def pipeline_dir(tmp_path):
    """A tiny pipeline as a folder."""
    folder = tmp_path / "pipeline"
    tiny_pipelines.stable_diffusion(tmp_path / "tokenizer").save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "method, flags, message",
    [
        ("diffusion_dpo", ["--beta", "0"], "`beta` is 0.0; valid range"),
        ("diffusion_dpo", ["--ema_decay", "1.5"], "`ema_decay` is 1.5; valid range"),
        ("diffusion_dpo", ["--prompt_dropout", "2"], "`prompt_dropout` is 2.0"),
        ("diffusion_dpo", ["--guidance_scale", "0.5"], "`guidance_scale` is 0.5"),
        ("diffusion_dpo", ["--remove_unused_columns", "true"], "need False"),
        ("diffusion_dpo", ["--sample_prompts", "a red square", " "], "empty prompt at index 1"),
        ("seppo", ["--flipper", "tanh"], "valid values: 'sign', 'indicator', 'none'"),
        ("seppo", ["--reference_strategy", "best"], "valid values: 'initial', 'latest', 'random'"),
        ("seppo", ["--num_iterations", "0"], "`num_iterations` is 0"),
        ("seppo", ["--max_steps", "5"], "leave it out: SePPO takes"),
    ],
)
def test_a_value_outside_its_range_is_refused_with_the_range(method, flags, message):
    with pytest.raises(InputError, match=message):
        load_run(method, None, [*flags, "--use_cpu"])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"load_in_4bit": "true"}, "`load_in_4bit` is True"),
        ({"dtype": "bfloat16"}, "every weight is trained and needs float32"),
        ({"dtype": "bfloat16", "use_peft": "true"}, "set `bf16: true` or `fp16: true`"),
        ({"dataset_streaming": "true"}, "`dataset_streaming` is true"),
        ({"resolution": "15"}, "`resolution` is 15; this pipeline needs a multiple of 2"),
        ({"resolution": "64"}, "row 0 .*smaller than the 64 x 64"),
        ({"dataset_name": "bundled/shapez"}, "bundled/shapez"),
        ({"use_peft": "true", "lora_target_modules": "to_z"}, "`lora_target_modules` does not fit"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_without_a_traceback(
    pipeline_dir, tmp_path, capsys, changed, message
):
    settings = {
        "model_name_or_path": str(pipeline_dir),
        "dataset_name": "bundled/shapes_preference",
        "dataset_train_split": "train[:8]",
        "output_dir": str(tmp_path / "out"),
        "use_cpu": "true",
    } | changed
    code = main(
        ["train", "diffusion_dpo", *(part for name, value in settings.items() for part in (f"--{name}", value))]
    )
    errors = capsys.readouterr().err
    assert code == 2 and "Traceback" not in errors
    assert re.search(message, errors), errors


def test_a_pipeline_of_another_kind_is_refused_by_its_class(tmp_path, build):
    from alignkit.trainers.diffusion.pipelines import load_pipeline

    (tmp_path / "model_index.json").write_text('{"_class_name": "DDPMPipeline", "_diffusers_version": "0.42.1"}')
    with pytest.raises(InputError, match="the pipeline is a DDPMPipeline; those that can be trained are"):
        load_pipeline(str(tmp_path))


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    from alignkit.trainers.diffusion.pipelines import load_pipeline

    with pytest.raises(InputError, match=r"holds no `model_index.json`"):
        load_pipeline(str(tmp_path))


def test_a_bad_row_is_named_before_anything_is_encoded(build, monkeypatch):
    data = tiny_pipelines.winners(4)
    rows = [dict(data[index]) for index in range(4)]
    rows[2]["prompt"] = "  "
    monkeypatch.setattr(tiny_pipelines, "winners", lambda count: data.from_list(rows, features=data.features))
    monkeypatch.setattr("alignkit.trainers.diffusion.data.cached_examples", lambda *args: pytest.fail("encoded"))
    with pytest.raises(InputError, match=r"row 2 .*field `prompt`"):
        build("seppo")


def test_rows_are_checked_once_for_all_runs_that_share_the_encoded_data(build, monkeypatch):
    build("seppo", folder="first")
    monkeypatch.setattr("alignkit.trainers.diffusion.data.check_images", lambda *args, **kwargs: pytest.fail("again"))
    build("seppo", folder="second")


def test_without_diffusers_the_config_says_how_to_install_it(monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        "alignkit.generation.images.find_spec", lambda name: None if name == "diffusers" else found(name)
    )
    with pytest.raises(InputError, match=r"pip install .?alignkit\[diffusion\]"):
        load_run("seppo", None, ["--use_cpu"])


def test_the_command_line_starts_without_diffusers():
    code = "import sys; from alignkit.cli import main; main(['methods']); sys.exit('diffusers' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
