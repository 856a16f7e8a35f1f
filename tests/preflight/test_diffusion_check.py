"""`alignkit check` for diffusion runs: what it shows, and a memory estimate against a real step."""

from types import SimpleNamespace

import pytest
import torch

from alignkit.cli import main
from alignkit.preflight.diffusion.census import count_pipeline
from alignkit.preflight.diffusion.memory import DiffusionSettings, activation_bytes, estimate_diffusion_memory
from alignkit.preflight.live_bytes import LiveBytes


@pytest.fixture(scope="module")
def pipeline_dir(tmp_path_factory):
    from alignkit.data.diffusion import untrained_pipeline

    folder = tmp_path_factory.mktemp("pipeline")
    untrained_pipeline("bundled/tiny-sd").save_pretrained(folder)
    return str(folder)


@pytest.fixture
def settings():
    return DiffusionSettings(
        images=4,
        resolution=16,
        weight_bytes=4,
        autocast=False,
        lora_rank=0,
        lora_targets=("to_q", "to_k", "to_v", "to_out.0"),
        second_adapter=False,
        gradient_checkpointing=False,
        ema=False,
        text_on_device=False,
        optimizer="adamw_torch",
        processes=1,
        device="cpu",
    )


def check(capsys, pipeline_dir, tmp_path, *flags):
    base = ["--model_name_or_path", pipeline_dir, "--output_dir", str(tmp_path), "--use_cpu"]
    code = main(["check", *flags[:1], *base, *flags[1:]])
    return code, *capsys.readouterr()


def test_a_good_run_shows_every_part_and_loads_no_weight(capsys, pipeline_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    flags = ["--dataset_name", "bundled/shapes", "--use_peft", "--ema_decay", "0.9", "--world-size", "2"]
    flags += ["--per_device_train_batch_size", "8", "--per_device_sampling_batch_size", "3"]
    code, output, _ = check(capsys, pipeline_dir, tmp_path, "seppo", *flags)
    assert code == 0
    for text in (
        "rows checked",
        "StableDiffusionPipeline: UNet2DConditionModel",
        "predicts epsilon",
        "LoRA on to_q",
        "8 pairs per device x 1 accumulation x 2 processes = 16 pairs per update",
        "210 updates in all",
        "reference samples: 16 per update, on each device 3 batches of up to 3 x 25 steps x 2 passes",
        "a second adapter on the base",
        "16 images of 16 x 16 pixels",
    ):
        assert text in output, text
    for part in (
        "denoiser",
        "text encoders",
        "vae",
        "adapter",
        "gradients",
        "optimizer",
        "ema",
        "activations",
        "peak",
    ):
        assert f"\n  {part} " in output, part


@pytest.mark.parametrize(
    "flags, message", [(["--resolution", "15"], "multiple of 2"), (["--load_in_8bit"], "load_in_8bit")]
)
def test_what_will_fail_is_said_before(capsys, pipeline_dir, tmp_path, flags, message):
    flags = ["diffusion_dpo", "--dataset_name", "bundled/shapes_preference", *flags]
    code, _, errors = check(capsys, pipeline_dir, tmp_path, *flags)
    assert code == 2 and message in errors


def test_a_hub_name_out_of_reach_skips_the_pipeline_and_still_checks_the_data(capsys, tmp_path):
    flags = ["--dataset_name", "bundled/shapes", "--model_name_or_path", "someone/some-pipeline", "--use_cpu"]
    code = main(["check", "seppo", *flags, "--output_dir", str(tmp_path)])
    output = capsys.readouterr().out
    assert code == 0 and "Pipeline and memory: skipped" in output and "rows checked" in output


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_activations_are_those_of_a_real_step(pipeline_dir, settings, lora, checkpointing):
    """The same pass on the CPU, with attention that keeps its probabilities: at most that much apart."""
    from dataclasses import replace

    from diffusers import UNet2DConditionModel

    from alignkit.preflight.diffusion.activations import drop_gradient
    from alignkit.trainers.diffusion.pipelines import pipeline_index

    chosen = replace(settings, lora_rank=16 if lora else 0, gradient_checkpointing=checkpointing)
    census = count_pipeline(pipeline_dir, pipeline_index(pipeline_dir), None)
    estimate = activation_bytes(census, chosen)
    unet = UNet2DConditionModel.from_pretrained(pipeline_dir, subfolder="unet").train()
    if lora:
        from peft import LoraConfig

        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=16, target_modules=list(chosen.lora_targets)))
    if checkpointing:
        unet.enable_gradient_checkpointing()
    for value in unet.parameters():
        if value.requires_grad:
            value.register_post_accumulate_grad_hook(drop_gradient)
    width = unet.config.cross_attention_dim
    inputs = (
        torch.randn(4, 4, 8, 8),
        torch.randint(1000, (4,)),
        torch.randn(4, census.condition_sizes["prompt_embeds"][0], width),
    )
    with LiveBytes() as live:
        unet(*inputs, return_dict=False)[0].square().mean().backward()
    assert estimate == pytest.approx(live.peak, rel=0.2)


def test_the_parts_follow_the_settings(pipeline_dir, settings):
    from dataclasses import replace

    from alignkit.trainers.diffusion.pipelines import pipeline_index

    census = count_pipeline(pipeline_dir, pipeline_index(pipeline_dir), None)
    full = estimate_diffusion_memory(census, settings)
    lora = estimate_diffusion_memory(census, replace(settings, lora_rank=4, second_adapter=True, ema=True))
    assert full.reference == full.denoiser == full.gradients == 4 * census.denoiser_parameters
    assert full.optimizer == 2 * full.gradients and full.adapter == 0
    assert lora.adapter == lora.reference == lora.ema == lora.gradients < full.gradients / 10
    half = estimate_diffusion_memory(census, replace(settings, lora_rank=4, weight_bytes=2, autocast=True))
    assert half.denoiser == full.denoiser / 2 and half.activations < lora.activations
    several = estimate_diffusion_memory(census, replace(settings, processes=2))
    assert several.gradients == 2 * full.gradients
    assert SimpleNamespace(**full.parts()).vae == 4 * census.vae_parameters
