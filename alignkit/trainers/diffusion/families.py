"""What differs between families of diffusion models, behind one adapter object."""

from typing import Any, ClassVar

import torch

from ...errors import InputError
from ...objectives.diffusion import noised_sample, prediction_target
from .noising import NoiseSchedule


# What the denoiser sees beside the noised sample and the time: {name: [B, ...]}.
Conditions = dict[str, torch.Tensor]


class Family:
    """A pipeline as the trainers use it: encode, noise, predict, sample, decode.

    Text encoders and VAE are frozen; no gradient passes through them, nor through sampling.

    Attributes:
        pipeline: the diffusers pipeline.
        schedule: how it noises.
        denoiser_name: attribute of the denoiser in the pipeline.
        lora_targets: modules that a LoRA adapter is put on by default.
    """

    denoiser_name: ClassVar[str] = "unet"
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    condition_names: ClassVar[tuple[str, ...]] = ("prompt_embeds",)

    def __init__(self, pipeline: Any):
        self.pipeline = pipeline
        self.schedule = NoiseSchedule.of(pipeline.scheduler)
        # In half precision some VAEs overflow, and it is small beside the denoiser.
        if pipeline.vae.dtype != torch.float32:
            pipeline.vae.to(torch.float32)
        for module in [pipeline.vae, *self.text_encoders]:
            module.requires_grad_(False).eval()
        # Sampling is given embeddings, so that the text encoders may lie elsewhere or be gone.
        without_text = dict.fromkeys(name for name in pipeline.components if name.startswith("text_encoder"))
        self.sampler = type(pipeline)(**{**pipeline.components, **without_text, **self.sampler_options()})
        self.sampler.set_progress_bar_config(disable=True)

    def sampler_options(self) -> dict[str, Any]:
        """Further arguments of the pipeline that samples."""
        return {}

    @property
    def denoiser(self) -> Any:
        return getattr(self.pipeline, self.denoiser_name)

    @property
    def text_encoders(self) -> list[torch.nn.Module]:
        """The text encoders that the pipeline has."""
        names = sorted(name for name in self.pipeline.components if name.startswith("text_encoder"))
        modules = [getattr(self.pipeline, name) for name in names]
        return [module for module in modules if module is not None]

    @property
    def default_resolution(self) -> int:
        """Pixels of the images that the pipeline makes."""
        size = self.denoiser.config.sample_size
        return (size if isinstance(size, int) else min(size)) * self.pipeline.vae_scale_factor

    def check_resolution(self, resolution: int) -> None:
        """Raise `InputError` unless the VAE and the denoiser can take images of so many pixels."""
        step = self.pipeline.vae_scale_factor * (getattr(self.denoiser.config, "patch_size", None) or 1)
        if resolution < step or resolution % step:
            raise InputError(f"`resolution` is {resolution}; this pipeline needs a multiple of {step}.")

    # Text and images

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Conditions:
        """The conditions of `len(prompts)` prompts, [B, ...] each, in float32."""
        device = self.text_encoders[0].device
        embeddings, _ = self.pipeline.encode_prompt(prompts, device, 1, False)
        return {"prompt_embeds": embeddings.float()}

    def empty_prompt(self) -> Conditions:
        """The conditions of no prompt, [1, ...] each: what guidance steers away from, and dropped prompts become."""
        return self.encode_prompt([""])

    @torch.no_grad()
    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, H, W] of images [B, 3, R, R] in [-1, 1]: the mean of the VAE's posterior, scaled."""
        vae = self.pipeline.vae
        latents = vae.encode(pixels.to(vae.device, torch.float32)).latent_dist.mode()
        return (latents - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> list[Any]:
        """The images (PIL) of latents [B, C, H, W]."""
        vae = self.pipeline.vae
        latents = latents.to(vae.device, torch.float32) / vae.config.scaling_factor
        images = vae.decode(latents + (vae.config.get("shift_factor") or 0.0), return_dict=False)[0]
        return self.pipeline.image_processor.postprocess(images, output_type="pil")

    # Noise and prediction

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The noised latents at the given indices [B] of the schedule."""
        return noised_sample(latents, noise, *self.schedule.weights(times, latents.device))

    def target(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What the denoiser should predict from them."""
        weights = self.schedule.weights(times, latents.device)
        return prediction_target(latents, noise, *weights, self.schedule.prediction_type)

    def predict(self, denoiser: Any, noised: torch.Tensor, times: torch.Tensor, conditions: Conditions):
        """The denoiser's prediction, of the shape of `noised`.

        Args:
            denoiser: the module to ask, which may be a wrapped one or a copy.
            noised: [B, C, H, W].
            times: [B], indices of the schedule.
            conditions: [B, ...] each.
        """
        network_times = self.schedule.network_times[times].to(noised.device)
        prediction = self.forward(denoiser, noised, network_times, conditions)
        # A network that also predicts a variance puts it into further channels.
        return prediction[:, : noised.shape[1]]

    @staticmethod
    def forward(denoiser: Any, noised: torch.Tensor, network_times: torch.Tensor, conditions: Conditions):
        """The call of the network itself."""
        return denoiser(noised, network_times, conditions["prompt_embeds"], return_dict=False)[0]

    # Sampling

    @torch.no_grad()
    def sample(
        self,
        denoiser: Any,
        conditions: Conditions,
        empty: Conditions,
        seeds: list[int],
        resolution: int,
        num_inference_steps: int,
        guidance_scale: float,
    ) -> torch.Tensor:
        """Latents [B, C, H, W] sampled for B prompts, each from its own seed, whatever the batch.

        Args:
            denoiser: the module that predicts.
            conditions: [B, ...] each.
            empty: those of the empty prompt, [1, ...] each, for classifier-free guidance.
            seeds: one per prompt.
            resolution: pixels of the images.
            num_inference_steps, guidance_scale: of the pipeline; a scale of 1 is no guidance.
        """
        dtype = next(denoiser.parameters()).dtype
        conditions = {name: conditions[name].to(dtype) for name in self.condition_names}
        negative = {
            f"negative_{name}": empty[name].to(dtype).expand_as(conditions[name]) for name in self.condition_names
        }
        setattr(self.sampler, self.denoiser_name, denoiser)
        was_training = denoiser.training
        denoiser.eval()
        try:
            return self.sampler(
                **conditions,
                **negative,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                height=resolution,
                width=resolution,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                output_type="latent",
            ).images.float()
        finally:
            denoiser.train(was_training)
            setattr(self.sampler, self.denoiser_name, self.denoiser)


class StableDiffusion(Family):
    """Stable Diffusion 1 and 2: a UNet, one text encoder."""

    def sampler_options(self):
        return {"safety_checker": None, "requires_safety_checker": False}


class StableDiffusionXL(Family):
    """SDXL: a UNet that is also told the size and crop of the original image, two text encoders."""

    condition_names = ("prompt_embeds", "pooled_prompt_embeds")

    @torch.no_grad()
    def encode_prompt(self, prompts):
        device = self.text_encoders[0].device
        embeddings, _, pooled, _ = self.pipeline.encode_prompt(prompts, None, device, 1, False)
        return {"prompt_embeds": embeddings.float(), "pooled_prompt_embeds": pooled.float()}

    def empty_prompt(self):
        conditions = super().empty_prompt()
        if not self.pipeline.config.force_zeros_for_empty_prompt:
            return conditions
        return {name: torch.zeros_like(values) for name, values in conditions.items()}

    @staticmethod
    def forward(denoiser, noised, network_times, conditions):
        added = {"text_embeds": conditions["pooled_prompt_embeds"], "time_ids": conditions["time_ids"]}
        embeddings = conditions["prompt_embeds"]
        return denoiser(noised, network_times, embeddings, added_cond_kwargs=added, return_dict=False)[0]


class StableDiffusion3(Family):
    """SD3: a transformer (MMDiT), two CLIP text encoders and perhaps T5."""

    denoiser_name = "transformer"
    condition_names = ("prompt_embeds", "pooled_prompt_embeds")
    lora_targets = (
        "attn.to_q",
        "attn.to_k",
        "attn.to_v",
        "attn.to_out.0",
        "attn.add_q_proj",
        "attn.add_k_proj",
        "attn.add_v_proj",
        "attn.to_add_out",
    )

    @torch.no_grad()
    def encode_prompt(self, prompts):
        device = self.text_encoders[0].device
        embeddings, _, pooled, _ = self.pipeline.encode_prompt(prompts, None, None, device, 1, False)
        return {"prompt_embeds": embeddings.float(), "pooled_prompt_embeds": pooled.float()}

    @staticmethod
    def forward(denoiser, noised, network_times, conditions):
        return denoiser(
            hidden_states=noised,
            timestep=network_times,
            encoder_hidden_states=conditions["prompt_embeds"],
            pooled_projections=conditions["pooled_prompt_embeds"],
            return_dict=False,
        )[0]


# Pipelines of diffusers that can be trained, by class name.
FAMILIES: dict[str, type[Family]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
    "StableDiffusion3Pipeline": StableDiffusion3,
}


def family_class(pipeline_class: str) -> type[Family]:
    """The family of a pipeline's class name; `InputError` for one that cannot be trained."""
    if pipeline_class not in FAMILIES:
        raise InputError(f"the pipeline is a {pipeline_class}; those that can be trained are {', '.join(FAMILIES)}.")
    return FAMILIES[pipeline_class]


def family_of(pipeline: Any) -> Family:
    """The adapter object of a loaded pipeline."""
    return family_class(type(pipeline).__name__)(pipeline)
