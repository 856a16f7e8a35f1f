"""CLIP score and PickScore on a tiny random CLIP model: the formulas, and what cannot be loaded."""

import pytest
import torch
from PIL import Image

from alignkit.data.diffusion.tokenizer import make_tokenizer
from alignkit.errors import InputError
from alignkit.rewards.images import load_scorer, scorer_identity


PROMPTS = ["a red circle on black", "a blue square on white", "anything"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = make_tokenizer()
    common = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**common, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config={**common, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def pictures():
    return [Image.new("RGB", (20, 30), colour) for colour in ("red", "blue", "green")]


def cosines(folder):
    scorer = load_scorer(f"clip:{folder}", "cpu")
    inputs = scorer.processor(text=PROMPTS, images=pictures(), return_tensors="pt", padding=True)
    with torch.no_grad():
        output = scorer.model(**inputs)
    return (output.logits_per_image / scorer.model.logit_scale.exp()).diagonal(), scorer.model.logit_scale.exp()


def test_clip_score_is_100_times_the_cosine_and_pickscore_its_scaled_cosine(clip_folder):
    cosine, scale = cosines(clip_folder)
    clip = load_scorer(f"clip:{clip_folder}", "cpu").score(PROMPTS, pictures())
    pick = load_scorer(f"pickscore:{clip_folder}", "cpu").score(PROMPTS, pictures())
    assert clip == pytest.approx((100 * cosine.clamp(min=0)).tolist(), abs=1e-3)
    assert pick == pytest.approx((scale * cosine).tolist(), abs=1e-4)


def test_an_images_score_does_not_depend_on_the_others(clip_folder, monkeypatch):
    scorer = load_scorer(f"pickscore:{clip_folder}", "cpu")
    together = scorer.score(PROMPTS, pictures())
    monkeypatch.setattr("alignkit.rewards.images.clip.BATCH_SIZE", 1)
    assert scorer.score(PROMPTS, pictures()) == pytest.approx(together, abs=1e-4)


def test_the_identity_changes_with_the_weights(clip_folder):
    before = scorer_identity(f"clip:{clip_folder}")
    weights = clip_folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert scorer_identity(f"clip:{clip_folder}") != before
    finally:
        weights.write_bytes(content)


def test_a_model_that_cannot_be_loaded_is_named(tmp_path, bundled_model_dir):
    with pytest.raises(InputError, match="no/such-clip"):
        scorer_identity("clip:no/such-clip")
    with pytest.raises(InputError, match="expected a CLIP model"):
        load_scorer(f"clip:{bundled_model_dir}")
    with pytest.raises(InputError, match="did you mean pickscore"):
        load_scorer("pickscor")
