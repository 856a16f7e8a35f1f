"""Images from pipelines: a seed's image does not depend on its batch, LoRAs find their base, grids hold every picture."""

import json

import numpy as np
import pytest
from PIL import Image

from alignkit.data.diffusion import untrained_pipeline
from alignkit.errors import InputError
from alignkit.generation.image_grid import image_grid
from alignkit.generation.image_sources import fingerprint_image_source, recorded_base, resolve_image_source
from alignkit.generation.images import ImageSampler, ImageSampling


@pytest.mark.parametrize("name", ["bundled/tiny-sd", "bundled/tiny-sd3"])
def test_the_image_of_a_seed_depends_neither_on_its_batch_nor_on_the_images_before(name):
    pipeline = untrained_pipeline(name)
    sampling = ImageSampling(num_inference_steps=2, guidance_scale=3.0)
    prompts, seeds = ["a red circle on black", "b", "a red circle on black", "c"], [5, 6, 5, 7]
    together = list(ImageSampler(pipeline, 4).sample(prompts, seeds, sampling))
    alone = list(ImageSampler(pipeline, 1).sample(prompts[::-1], seeds[::-1], sampling))[::-1]
    for one, other in zip(together, alone, strict=True):
        # The noise is the same; a batch of another size may round the last bit differently.
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
    assert np.array_equal(together[0], together[2])
    assert not np.array_equal(together[0], together[1])


def test_a_stored_pipeline_without_its_third_text_encoder_is_loaded_to_train_and_to_draw(tmp_path):
    from alignkit.trainers.diffusion.pipelines import load_pipeline

    untrained_pipeline("bundled/tiny-sd3").save_pretrained(tmp_path)
    assert load_pipeline(str(tmp_path)).text_encoder_3 is None
    sampler = ImageSampler.load(resolve_image_source(str(tmp_path)))
    (image,) = sampler.sample(["a red circle"], [0], ImageSampling(num_inference_steps=1))
    assert image.size == (16, 16)


@pytest.mark.parametrize(("field", "value"), [("num_inference_steps", 0), ("guidance_scale", 0.9)])
def test_sampling_out_of_range_is_refused(field, value):
    with pytest.raises(InputError, match=field):
        ImageSampling(**{field: value})


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    return folder


def lora_folder(tmp_path, **files):
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "pytorch_lora_weights.safetensors").write_bytes(b"weights")
    for name, text in files.items():
        (folder / name.replace("_json", ".json").replace("_md", ".md")).write_text(text)
    return folder


def test_a_loras_base_is_what_its_run_recorded_then_what_its_card_says(tmp_path, base):
    run = json.dumps({"model_name_or_path": "alias", "model_revision": None})
    folder = lora_folder(tmp_path, alignkit_run_json=run, README_md="---\nbase_model: some/base\n---\n# card\n")
    source = resolve_image_source(str(folder), resolve=lambda name: str(base) if name == "alias" else name)
    assert (source.path, source.lora, source.base) == (str(base), str(folder), "alias")
    (folder / "alignkit_run.json").unlink()
    assert recorded_base(folder) == ("some/base", None)
    assert resolve_image_source(str(folder), base_model=str(base)).path == str(base)


def test_a_lora_without_a_base_is_refused_with_the_flag_that_gives_one(tmp_path):
    with pytest.raises(InputError, match="--base_model"):
        resolve_image_source(str(lora_folder(tmp_path)))


def test_the_fingerprint_changes_with_the_lora_and_with_the_base(tmp_path, base):
    folder = lora_folder(tmp_path)

    def fingerprint():
        return fingerprint_image_source(resolve_image_source(str(folder), base_model=str(base)))

    first = fingerprint()
    assert fingerprint() == first
    (folder / "pytorch_lora_weights.safetensors").write_bytes(b"others!")
    second = fingerprint()
    (base / "model_index.json").write_text('{"a": 1}')
    assert len({first, second, fingerprint()}) == 3


def test_a_grid_holds_every_picture_under_its_caption_and_title():
    colours = [[(250, 0, 0), (0, 250, 0)], [(0, 0, 250)]]
    rows = [[Image.new("RGB", (16, 16), colour) for colour in row] for row in colours]
    bare = np.asarray(image_grid(rows))
    named = image_grid(rows, ["first", "second"], ["left", "right"])
    for row in colours:
        for colour in row:
            assert (bare == colour).all(axis=2).sum() == 96 * 96  # enlarged six times
            assert (np.asarray(named) == colour).all(axis=2).sum() == 96 * 96
    assert named.height > bare.shape[0] and named.width == bare.shape[1]


def test_a_grid_without_pictures_or_with_other_captions_than_rows_is_refused():
    with pytest.raises(InputError, match="no pictures"):
        image_grid([[]])
    with pytest.raises(InputError, match="2 captions for 1"):
        image_grid([[Image.new("RGB", (4, 4))]], ["a", "b"])
