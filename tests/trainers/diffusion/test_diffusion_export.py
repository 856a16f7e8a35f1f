"""What is saved loads in a fresh diffusers pipeline and makes the same images; sample grids and the model card."""

from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines
import torch

from alignkit.trainers.diffusion.lora import snapshot


def picture(pipeline):
    generator = torch.Generator().manual_seed(3)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a red square",
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=generator,
        output_type="np",
        height=16,
        width=16,
    ).images


@pytest.mark.parametrize("pipeline", ["unet-epsilon", "dit-flow", pytest.param("sdxl", marks=pytest.mark.slow)])
@pytest.mark.parametrize("ema_decay", [None, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_lora_loads_in_a_fresh_pipeline_and_makes_the_same_image(build, tmp_path, pipeline, ema_decay):
    trainer = build("diffusion_dpo", pipeline, max_steps=2, learning_rate=0.5, beta=1.0, ema_decay=ema_decay)
    untrained = picture(tiny_pipelines.PIPELINES[pipeline](tmp_path / pipeline))
    trainer.train()
    raw = snapshot(trainer.model)
    trainer.save_model()
    assert all(torch.equal(value, raw[name]) for name, value in snapshot(trainer.model).items())
    trainer.model.eval()
    with trainer.saved_weights():
        trained = picture(trainer.family.pipeline)
    fresh = tiny_pipelines.PIPELINES[pipeline](tmp_path / pipeline)
    fresh.load_lora_weights(trainer.args.output_dir)
    assert np.abs(picture(fresh) - trained).max() < 1e-4
    assert np.abs(trained - untrained).max() > 1e-2


@pytest.mark.slow
def test_a_fully_trained_pipeline_loads_whole(build):
    from diffusers import DiffusionPipeline

    trainer = build("diffusion_dpo", lora=False, max_steps=1, learning_rate=1e-2)
    trainer.train()
    trainer.save_model()
    trainer.model.eval()
    loaded = DiffusionPipeline.from_pretrained(trainer.args.output_dir)
    assert np.abs(picture(loaded) - picture(trainer.family.pipeline)).max() < 1e-4


def test_sample_grids_are_written_before_within_and_after_training_and_change_no_number(build):
    losses = []
    for prompts in (2, 0):
        trainer = build(
            "diffusion_dpo",
            folder=f"run-{prompts}",
            max_steps=3,
            eval_steps=2,
            num_sample_prompts=prompts,
            samples_per_prompt=2,
            report_to="tensorboard" if prompts else "none",
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        folder = Path(trainer.args.output_dir, "samples")
        grids = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
        assert grids == [f"step-{step:06d}.png" for step in (0, 2, 3) if prompts]
        if prompts:
            assert logged_images(Path(trainer.args.output_dir)) == [0, 2, 3]
    assert losses[0] == losses[1]


def logged_images(folder: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = folder.glob("runs/*/events*")
    events = EventAccumulator(str(file))
    events.Reload()
    return [image.step for image in events.Images("samples")]


def test_the_model_card_names_method_base_and_how_to_load(build):
    trainer = build("seppo")
    trainer.model_source, trainer.dataset_name = "bundled/tiny-sd", "bundled/shapes"
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    card = Path(trainer.args.output_dir, "README.md").read_text()
    for text in (
        "library_name: diffusers",
        "arxiv:2410.05255",
        "resolve_pipeline",
        "load_lora_weights",
        "`bundled/shapes`",
    ):
        assert text in card, text
    assert str(Path(trainer.args.output_dir).parent) not in card


def test_a_run_is_exported_as_a_folder_for_the_hub_and_flags_of_language_models_are_refused(build, tmp_path, capsys):
    from alignkit.cli import main
    from alignkit.generation.image_sources import recorded_base

    trainer = build("diffusion_dpo", max_steps=1)
    trainer.train()
    trainer.save_model()
    run, out = trainer.args.output_dir, tmp_path / "export"
    assert main(["export", run, "--out", str(out), "--license", "mit"]) == 0
    assert {path.name for path in out.iterdir()} == {"README.md", "alignkit.json", "pytorch_lora_weights.safetensors"}
    weights = "pytorch_lora_weights.safetensors"
    assert (out / weights).read_bytes() == Path(run, weights).read_bytes()
    card = (out / "README.md").read_text()
    assert "license: mit" in card and 'load_lora_weights("export")' in card
    assert recorded_base(out) == recorded_base(Path(run))
    assert main(["export", run, "--out", str(out)]) == 2, "a folder in the way"
    assert main(["export", run, "--out", str(tmp_path / "merged"), "--merge"]) == 2
    assert "language models" in capsys.readouterr().err
