"""Pixels, encoded shards and the noising of each family."""

import numpy as np
import pytest
import tiny_pipelines
import torch

from alignkit.trainers.diffusion.families import family_of
from alignkit.trainers.diffusion.pixels import to_pixels
from alignkit.trainers.diffusion.shards import ROWS_PER_SHARD, TensorShards


@pytest.mark.parametrize("size, cut", [((32, 32), (0, 0)), ((64, 32), (0, 16)), ((32, 64), (16, 0)), ((8, 8), (0, 0))])
def test_an_image_is_scaled_by_its_shorter_side_and_cut_in_the_middle(size, cut):
    from PIL import Image

    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, size[0], size[1]))
    pixels, time_ids = to_pixels(image, 32)
    assert pixels.shape == (3, 32, 32) and pixels.min() >= -1.0001 and pixels.max() <= 1.0001
    assert time_ids.tolist() == [size[1], size[0], *cut, 32, 32]
    assert pixels[0, :, :8].min() > 0.9 and pixels[2, :, 24:].min() > 0.9  # red left, blue right


def test_shards_are_computed_once_and_a_killed_build_goes_on(tmp_path):
    seen = []

    def compute(rows):
        if len(seen) == ROWS_PER_SHARD + 4:
            raise KeyboardInterrupt
        seen.extend(rows)
        return {"value": torch.tensor(rows, dtype=torch.float32)[:, None]}

    shards = TensorShards(tmp_path, ROWS_PER_SHARD + 10)
    with pytest.raises(KeyboardInterrupt):
        shards.build(compute, 4, "")
    done = list(seen)
    seen.clear()
    shards.build(compute, 4, "")
    assert min(seen) == ROWS_PER_SHARD and len(done) == ROWS_PER_SHARD + 4
    seen.clear()
    shards.build(compute, 4, "")
    assert not seen
    assert [shards[row]["value"].item() for row in (0, 63, 64, 73)] == [0, 63, 64, 73]


@pytest.mark.parametrize("name", ["unet-epsilon", "unet-v", "dit-flow"])
def test_the_sampler_undoes_the_noise_of_a_perfect_predictor(tmp_path, name):
    """One scheduler step from the noisiest time with the true target gives the clean latents back."""
    pipeline = tiny_pipelines.PIPELINES[name](tmp_path)
    family = family_of(pipeline)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 4, 8, 8, generator=generator)
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(1)
    (time,) = scheduler.timesteps
    distances = (family.schedule.network_times - time).abs()
    index = distances.argmin().repeat(2)
    assert distances.min() == 0
    noised, target = family.noised(clean, noise, index), family.target(clean, noise, index)
    step = scheduler.step(target, time, noised)
    result = step.prev_sample if name == "dit-flow" else step.pred_original_sample
    torch.testing.assert_close(result, clean, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["unet-epsilon", "dit-flow", "sdxl"])
def test_a_sample_is_the_pipelines_own_and_depends_on_its_seed_not_on_its_batch(tmp_path, name):
    pipeline = tiny_pipelines.PIPELINES[name](tmp_path)
    family = family_of(pipeline)
    prompts = ["a red square", "a blue square"]
    conditions = family.encode_prompt(prompts)
    together = family.sample(family.denoiser, conditions, family.empty_prompt(), [1, 2], 16, 2, 5.0)
    second = {key: values[1:] for key, values in conditions.items()}
    alone = family.sample(family.denoiser, second, family.empty_prompt(), [2], 16, 2, 5.0)
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    own = pipeline(
        prompts,
        generator=generators,
        height=16,
        width=16,
        num_inference_steps=2,
        guidance_scale=5.0,
        output_type="latent",
    ).images
    torch.testing.assert_close(together, own, atol=1e-4, rtol=1e-4)
    assert together.shape == (2, 4, 8, 8) and len(family.decode(together)) == 2


def test_latents_decode_to_what_was_encoded_up_to_the_vae(tmp_path):
    """Scaling and shift of latents cancel: encoding and decoding is the VAE's own reconstruction."""
    family = family_of(tiny_pipelines.dit_flow(tmp_path))
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    vae = family.pipeline.vae
    direct = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    image = family.decode(family.encode_image(pixels))[0]
    expected = family.pipeline.image_processor.postprocess(direct.detach(), output_type="pil")[0]
    assert np.abs(np.asarray(image, int) - np.asarray(expected, int)).max() <= 1
    assert np.asarray(image).std() > 1
