"""`--suite image_reward`: pipelines and LoRAs scored on held-out captions, paired by caption and seed, resumable."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from alignkit.cli import main
from alignkit.data.diffusion import untrained_pipeline
from alignkit.errors import InputError
from alignkit.eval import evaluate
from alignkit.generation.images import ImageSampler


OPTIONS = {"limit": 3, "n_samples": 2, "num_inference_steps": 2, "batch_size": 4, "num_resamples": 100}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of two untrained pipelines, and of a LoRA on the first one."""
    root = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        untrained_pipeline("bundled/tiny-sd", seed).save_pretrained(root / f"sd{seed}")
    save_lora(root / "lora", base=str(root / "sd0"))
    return root


def save_lora(folder, base):
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    unet = untrained_pipeline("bundled/tiny-sd").unet
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]), "policy")
    generator = torch.Generator().manual_seed(0)
    weights = get_peft_model_state_dict(unet, adapter_name="policy")
    weights = {name: torch.randn(value.shape, generator=generator) for name, value in weights.items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights)
    (folder / "alignkit_run.json").write_text(json.dumps({"model_name_or_path": base, "model_revision": None}))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pixels(folder):
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in folder.glob("images/*/*.png")}


def test_the_whole_line_compares_with_the_first_model_and_reports_images_side_by_side(models, tmp_path, capsys):
    names = [str(models / name) for name in ("sd0", "sd1", "lora")]
    flags = [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
    assert main(["eval", *names, "--suite", "image_reward", "--scorer", "shapes", "--out", str(tmp_path), *flags]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [own["label"] for own in results["models"]] == ["sd0", "sd1", "lora"]
    assert [(own["baseline"], own["n"]) for own in results["comparisons"]] == [(names[0], 3)] * 2
    first, second, lora = results["models"]
    assert lora["adapter"] and lora["base"] == names[0] and not first["adapter"]
    for own, comparison in zip((second, lora), results["comparisons"], strict=True):
        assert comparison["difference"] == pytest.approx(own["reward"] - first["reward"])
        assert comparison["difference"] != 0  # another pipeline, and a LoRA that is really on
        assert comparison["ci_low"] <= comparison["difference"] <= comparison["ci_high"]
    for own in results["models"]:
        images = read(tmp_path / "generations" / f"{own['fingerprint']}.jsonl")
        (grades,) = (tmp_path / "grades").glob(f"{own['fingerprint']}-*.jsonl")
        assert own["n_images"] == len(images) == len(read(grades)) == 6
        assert own["reward"] == pytest.approx(np.mean([grade["score"] for grade in read(grades)]))
        assert np.mean(list(own["parts"].values())) == pytest.approx(own["reward"])
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 * 3 * 2
    assert not re.search(r"(src|href)=.http", page)
    assert "images.png" in (tmp_path / "report.md").read_text()
    assert Image.open(tmp_path / "images.png").width > 3 * 96
    assert "sd1 against sd0" in " ".join(capsys.readouterr().out.split())


def test_two_models_start_from_the_same_noise_caption_by_caption(models, tmp_path):
    results = evaluate([str(models / "sd0"), str(models / "sd1")], "image_reward", tmp_path, **OPTIONS)
    rows = [read(tmp_path / "generations" / f"{own.fingerprint}.jsonl") for own in results.models]
    seeds = [[(row["item_id"], row["sample_index"], row["seed"]) for row in own] for own in rows]
    assert seeds[0] == seeds[1]
    assert len({seed for *_, seed in seeds[0]}) == len(seeds[0])


def test_a_killed_run_goes_on_where_it_stopped_and_ends_like_an_unbroken_one(models, tmp_path, monkeypatch):
    model = [str(models / "sd0")]
    whole = evaluate(model, "image_reward", tmp_path / "whole", **OPTIONS)
    sample, drawn = ImageSampler.sample, []

    def killed_after_four(self, *args):
        for image in sample(self, *args):
            if len(drawn) == 4:
                raise KeyboardInterrupt
            drawn.append(image)
            yield image

    monkeypatch.setattr(ImageSampler, "sample", killed_after_four)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, "image_reward", tmp_path / "killed", **OPTIONS)
    (records,) = (tmp_path / "killed" / "generations").iterdir()
    assert len(read(records)) == 4
    with records.open("ab") as stream:
        stream.write(b'{"item_id": "2", "sam')  # a half-written line
    monkeypatch.setattr(
        ImageSampler, "sample", lambda self, *args: (drawn.append(image) or image for image in sample(self, *args))
    )
    again = evaluate(model, "image_reward", tmp_path / "killed", **OPTIONS)
    assert len(drawn) == 6
    ours, theirs = pixels(tmp_path / "killed"), pixels(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    # Another batch may round the last bit of a pixel differently.
    assert all(np.abs(ours[name].astype(int) - theirs[name]).max() <= 1 for name in ours)
    assert again.models[0].reward == pytest.approx(whole.models[0].reward, abs=1e-2)


def test_what_is_complete_is_not_loaded_again_and_a_lost_image_is_drawn_again(models, tmp_path, monkeypatch):
    model = [str(models / "sd0")]
    first = evaluate(model, "image_reward", tmp_path, **OPTIONS)
    before = pixels(tmp_path)
    monkeypatch.setattr(ImageSampler, "load", lambda *args, **kwargs: pytest.fail("the pipeline was loaded"))
    assert evaluate(model, "image_reward", tmp_path, **OPTIONS).models == first.models
    monkeypatch.undo()
    lost = sorted(before)[2]
    (tmp_path / lost).unlink()
    evaluate(model, "image_reward", tmp_path, **OPTIONS)
    assert np.abs(pixels(tmp_path)[lost].astype(int) - before[lost]).max() <= 1


def test_captions_of_ones_own_need_a_scorer_that_can_judge_them(models, tmp_path):
    path = tmp_path / "captions.jsonl"
    path.write_text('{"caption": "a red circle on black"}\n{"caption": "a dog"}\n')
    model = [str(models / "sd0")]
    with pytest.raises(InputError, match="--scorer is missing"):
        evaluate(model, "image_reward", tmp_path / "out", data=str(path))
    with pytest.raises(InputError, match="'a dog' names no colour"):
        evaluate(model, "image_reward", tmp_path / "out", data=str(path), scorer="shapes")
    results = evaluate(
        model, "image_reward", tmp_path / "out", data=str(path), scorer="shapes", **{**OPTIONS, "limit": 1}
    )
    assert results.models[0].n == 1


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        ("sd0", {"scorer": "clips"}, "did you mean clip"),
        ("sd0", {"scorer": "shapes:some/model"}, "takes no model"),
        ("sd0", {"guidance_scale": 0.5}, "guidance_scale is 0.5"),
        ("sd0", {"num_inference_steps": 0}, "num_inference_steps is 0"),
        ("unet", {}, "neither model_index.json"),
        ("gone", {}, "does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_loaded(models, tmp_path, model, options, named):
    folder = models / "sd0" / "unet" if model == "unet" else models / model
    with pytest.raises(InputError, match=named):
        evaluate([str(folder)], "image_reward", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
