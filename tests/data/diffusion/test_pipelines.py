"""The bundled pipelines: their tokenizer, the cache of what is built, and the shortcut for the zeros in T5's place."""

import logging

import pytest
import torch

from alignkit.data.diffusion import PIPELINES, pipelines, resolve_pipeline, untrained_pipeline
from alignkit.data.diffusion.autoencoder import train_vae
from alignkit.data.diffusion.pretraining import LastTokenRepeated, train_sd
from alignkit.data.diffusion.tokenizer import WORDS, make_tokenizer
from alignkit.errors import InputError


def test_every_word_of_the_captions_is_one_token_and_others_are_spelt():
    tokenizer = make_tokenizer()
    assert [tokenizer.tokenize(word) for word in WORDS] == [[f"{word}</w>"] for word in WORDS]
    ids = tokenizer("a zebra on grey").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert max(ids) == ids[-1] == tokenizer.eos_token_id


def test_zeros_in_the_place_of_t5_count_as_one_token_weighted():
    pipeline = untrained_pipeline("bundled/tiny-sd3")
    transformer = pipeline.transformer
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in transformer.parameters():  # the zero-initialised parts too
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    latents, time = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([400.0, 900.0])

    def predict(tokens):
        embeds, _, pooled, _ = pipeline.encode_prompt(
            ["a red circle on black", "b"],
            None,
            None,
            do_classifier_free_guidance=False,
            device="cpu",
            max_sequence_length=tokens,
        )
        with torch.no_grad():
            return transformer(latents, embeds, pooled, time).sample

    whole, one = predict(256), predict(1)
    transformer.set_attn_processor(LastTokenRepeated(256))
    torch.testing.assert_close(predict(1), whole, rtol=1e-4, atol=1e-5)
    assert (one - whole).abs().max() > 1e-2


@pytest.fixture
def short_training(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path))
    for module, name, train in (("autoencoder", "train_vae", train_vae), ("pretraining", "train_sd", train_sd)):
        monkeypatch.setattr(
            f"alignkit.data.diffusion.{module}.{name}", lambda model, seed, own=train: own(model, seed, steps=2)
        )
    monkeypatch.setattr("alignkit.data.diffusion.autoencoder.NUM_PICTURES", 64)
    return tmp_path


def test_a_pipeline_is_built_once_whole_and_deterministically(short_training, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        first = resolve_pipeline("bundled/tiny-sd")
    assert "tiny-sd is built now" in caplog.text
    weights = (short_training / "pipelines").glob("tiny-sd-*/unet/diffusion_pytorch_model.safetensors")
    (before,) = [path.read_bytes() for path in weights]
    caplog.clear()
    assert resolve_pipeline("bundled/tiny-sd") == first
    assert not caplog.text
    monkeypatch.setenv("ALIGNKIT_CACHE", str(short_training / "again"))
    again = resolve_pipeline("bundled/tiny-sd")
    assert (pipelines.Path(again) / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == before


def test_what_a_killed_build_left_is_not_taken_for_a_pipeline(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path))

    def killed(folder):
        folder.mkdir()
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipelines.cached("thing", pipelines.RECIPE, killed)

    def whole(folder):
        folder.mkdir()
        (folder / "whole").write_text("")

    folder = pipelines.cached("thing", pipelines.RECIPE, whole)
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_other_names_come_back_unchanged_and_unknown_bundled_ones_are_refused(tmp_path):
    assert resolve_pipeline("some/pipeline") == "some/pipeline"
    assert resolve_pipeline(str(tmp_path)) == str(tmp_path)
    with pytest.raises(InputError, match=", ".join(PIPELINES)):
        resolve_pipeline("bundled/tiny-sdxl")


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_a_bundled_pipeline_draws_what_captions_say_partly(name):
    from alignkit.data.diffusion import held_out_captions
    from alignkit.generation.image_sources import resolve_image_source
    from alignkit.generation.images import ImageSampler, ImageSampling
    from alignkit.rewards.images import load_scorer

    sampler = ImageSampler.load(resolve_image_source(name, resolve=resolve_pipeline), batch_size=36)
    captions = held_out_captions() * 2
    images = list(sampler.sample(captions, range(len(captions)), ImageSampling()))
    own = load_scorer("shapes").score(captions, images)
    others = load_scorer("shapes").score(captions[7:] + captions[:7], images)
    assert 0.4 < sum(own) / len(own) < 0.85
    assert sum(own) > sum(others) + 0.1 * len(own)
