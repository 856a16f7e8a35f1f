"""Pipelines of a few ten thousand weights, built from configuration, and images of coloured squares."""

import json
import string
from pathlib import Path

import torch


PIXELS = 16
PROMPTS = ["a red square", "a green square", "a blue square", "a grey square"]
COLOURS = [(220, 40, 40), (40, 200, 60), (50, 60, 220), (128, 128, 128)]


def tokenizer(folder: Path):
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = list(string.ascii_lowercase)
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def text_config(**more):
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=54,
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
        **more,
    )


def vae(**more):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=PIXELS,
        **more,
    )


def unet(**more):
    from diffusers import UNet2DConditionModel

    settings = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**settings, **more})


def stable_diffusion(folder: Path, prediction_type: str = "epsilon"):
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(folder),
        unet=unet(),
        scheduler=DDIMScheduler(prediction_type=prediction_type, clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(folder: Path):
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    denoiser = unet(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config(projection_dim=32)),
        tokenizer=tokenizer(folder / "1"),
        tokenizer_2=tokenizer(folder / "2"),
        unet=denoiser,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        add_watermarker=False,
    )


def stable_diffusion_3(folder: Path, scheduler=None):
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(0)
    denoiser = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        pos_embed_max_size=8,
    )
    return StableDiffusion3Pipeline(
        transformer=denoiser,
        scheduler=scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(shift_factor=0.1),
        text_encoder=CLIPTextModelWithProjection(text_config(projection_dim=32)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(projection_dim=32)),
        text_encoder_3=None,
        tokenizer=tokenizer(folder / "1"),
        tokenizer_2=tokenizer(folder / "2"),
        tokenizer_3=None,
    )


def dit_epsilon(folder: Path):
    from diffusers import DDIMScheduler

    return stable_diffusion_3(folder, DDIMScheduler(clip_sample=False, steps_offset=1))


def dit_flow(folder: Path):
    return stable_diffusion_3(folder)


def v_prediction(folder: Path):
    return stable_diffusion(folder, "v_prediction")


PIPELINES = {
    "unet-epsilon": stable_diffusion,
    "unet-v": v_prediction,
    "sdxl": stable_diffusion_xl,
    "dit-epsilon": dit_epsilon,
    "dit-flow": dit_flow,
}


def square(colour: tuple[int, int, int], size: int = PIXELS):
    from PIL import Image

    image = Image.new("RGB", (size, size), (255, 255, 255))
    image.paste(colour, (size // 4, size // 4, 3 * size // 4, 3 * size // 4))
    return image


def pairs(rows: int = 8):
    """`prompt`, and the square of its colour preferred to that of the next one."""
    from datasets import Dataset

    count = len(PROMPTS)
    return Dataset.from_dict(
        {
            "prompt": [PROMPTS[row % count] for row in range(rows)],
            "image_chosen": [square(COLOURS[row % count]) for row in range(rows)],
            "image_rejected": [square(COLOURS[(row + 1) % count]) for row in range(rows)],
        }
    )


def winners(rows: int = 8):
    """`prompt` and the square of its colour."""
    return pairs(rows).rename_column("image_chosen", "image").select_columns(["prompt", "image"])


def lora(pipeline, **more):
    """An adapter whose scale is not 1, on the family's default modules."""
    from peft import LoraConfig

    from alignkit.trainers.diffusion.families import family_class

    targets = list(family_class(type(pipeline).__name__).lora_targets)
    return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": targets, **more})
