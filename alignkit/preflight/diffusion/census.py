"""The parts of a pipeline, built on the `meta` device from their configurations: no weight is loaded."""

from dataclasses import dataclass
from typing import Any


@dataclass
class PipelineCensus:
    """What the memory estimate needs to know of a pipeline.

    Attributes:
        pipeline_class: its class in diffusers.
        denoiser: the denoiser on the `meta` device.
        text_parameters: of all text encoders together.
        vae_parameters: of the VAE.
        vae_factor: pixels per latent along one side.
        condition_sizes: what the denoiser is given beside latents and time, {name: shape without the batch}.
        prediction_type: what it predicts.
    """

    pipeline_class: str
    denoiser: Any
    text_parameters: int
    vae_parameters: int
    vae_factor: int
    condition_sizes: dict[str, tuple[int, ...]]
    prediction_type: str

    @property
    def denoiser_parameters(self) -> int:
        return sum(value.numel() for value in self.denoiser.parameters())

    @property
    def default_resolution(self) -> int:
        size = self.denoiser.config.sample_size
        return (size if isinstance(size, int) else min(size)) * self.vae_factor


def count_pipeline(name: str, index: dict[str, Any], revision: str | None) -> PipelineCensus:
    """Count the pipeline at `name` (a folder or a name of the Hub) whose `model_index.json` is `index`.

    Raises `OSError` where a configuration cannot be reached, `ValueError` where one is not understood.
    """
    import diffusers
    import torch
    import transformers

    def class_of(part: str) -> Any:
        return getattr(diffusers, index[part][1])

    def config_of(part: str) -> dict[str, Any]:
        return dict(class_of(part).load_config(name, subfolder=part, revision=revision))

    def count(module: Any) -> int:
        return sum(value.numel() for value in module.parameters())

    denoiser_name = "unet" if index.get("unet") else "transformer"
    vae_config = config_of("vae")
    text_configs = []
    text_parameters = 0
    with torch.device("meta"):
        denoiser = class_of(denoiser_name).from_config(config_of(denoiser_name))
        vae_parameters = count(class_of("vae").from_config(vae_config))
        for part in sorted(key for key in index if key.startswith("text_encoder") and index[key][1]):
            config = transformers.AutoConfig.from_pretrained(name, subfolder=part, revision=revision)
            text_configs.append(config)
            text_parameters += count(getattr(transformers, index[part][1])(config))
    scheduler = config_of("scheduler")
    is_flow = index["scheduler"][1].startswith("FlowMatch")
    return PipelineCensus(
        pipeline_class=index["_class_name"],
        denoiser=denoiser,
        text_parameters=text_parameters,
        vae_parameters=vae_parameters,
        vae_factor=2 ** (len(vae_config["block_out_channels"]) - 1),
        condition_sizes=_condition_sizes(denoiser, text_configs),
        prediction_type="flow" if is_flow else scheduler.get("prediction_type", "epsilon"),
    )


def _condition_sizes(denoiser: Any, text_configs: list[Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of embeddings: the tokens of CLIP, and T5's 256 beside them where a transformer is the denoiser."""
    tokens = text_configs[0].max_position_embeddings
    config = denoiser.config
    if "joint_attention_dim" in config:
        return {
            "prompt_embeds": (tokens + 256, config.joint_attention_dim),
            "pooled_prompt_embeds": (config.pooled_projection_dim,),
        }
    width = config.cross_attention_dim
    sizes: dict[str, tuple[int, ...]] = {"prompt_embeds": (tokens, width if isinstance(width, int) else max(width))}
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        sizes |= {"pooled_prompt_embeds": (pooled,), "time_ids": (6,)}
    return sizes
