"""How the bundled pipelines learn, on drawings of mixed quality: denoiser and text encoders together.

About a minute on one core. The outcome depends on the seed alone (on one machine and thread count).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from .autoencoder import encode, load_pictures
from .stepping import optimise


STEPS, BATCH_SIZE, RATE = 600, 32, 2e-3
CAPTION_DROPOUT = 0.1
MAX_WEIGHT = 20.0
# Words start further apart than transformers draws them, so that the denoiser hears them early.
WORD_SCALE = 5.0
# diffusers puts this many zeros in the place of a missing T5 (its default `max_sequence_length`).
T5_TOKENS = 256


def train_sd(pipeline: Any, seed: int, steps: int = STEPS) -> None:
    """Teach UNet and text encoder of an SD-shaped pipeline to denoise the drawings. In place."""
    captions, pictures = load_pictures(seed)
    # This family of pipelines knows no shift.
    latents = encode(pipeline.vae, pictures) * pipeline.vae.config.scaling_factor
    texts = CaptionRows(captions)
    scheduler, generator = pipeline.scheduler, torch.Generator().manual_seed(seed)
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight.mul_(WORD_SCALE)
    parameters = [*pipeline.unet.parameters(), *pipeline.text_encoder.parameters()]
    for batch in optimise(parameters, RATE, steps, "bundled UNet", len(latents), BATCH_SIZE, generator):
        clean = latents[batch.rows]
        noise = torch.randn(clean.shape, generator=generator)
        times = torch.randint(scheduler.config.num_train_timesteps, (len(clean),), generator=generator)
        embeds, _ = pipeline.encode_prompt(texts.unique, "cpu", 1, False)
        predicted = pipeline.unet(
            scheduler.add_noise(clean, noise, times), times, embeds[texts.draw(batch.rows, generator)]
        ).sample
        velocity = scheduler.config.prediction_type == "v_prediction"
        target = scheduler.get_velocity(clean, noise, times) if velocity else noise
        # Colour and shape are decided at noisy times, where an error in the noise is small: weighted as a velocity's would be.
        weights = torch.ones(len(clean)) if velocity else (1 / scheduler.alphas_cumprod[times]).clamp(max=MAX_WEIGHT)
        batch.step((weights * (predicted - target).square().mean(dim=(1, 2, 3))).mean())


def train_sd3(pipeline: Any, seed: int, steps: int = STEPS) -> None:
    """Teach the DiT and both text encoders of an SD3-shaped pipeline the flow from noise to the drawings. In place."""
    captions, pictures = load_pictures(seed)
    vae, transformer = pipeline.vae, pipeline.transformer
    latents = (encode(vae, pictures) - vae.config.shift_factor) * vae.config.scaling_factor
    texts = CaptionRows(captions)
    generator = torch.Generator().manual_seed(seed)
    parameters = [
        *transformer.parameters(),
        *pipeline.text_encoder.parameters(),
        *pipeline.text_encoder_2.parameters(),
    ]
    usual = transformer.attn_processors
    transformer.set_attn_processor(LastTokenRepeated(T5_TOKENS))
    for batch in optimise(parameters, RATE, steps, "bundled DiT", len(latents), BATCH_SIZE, generator):
        clean = latents[batch.rows]
        noise = torch.randn(clean.shape, generator=generator)
        sigmas = torch.rand(len(clean), generator=generator)
        mixed = torch.lerp(clean, noise, sigmas[:, None, None, None])
        rows = texts.draw(batch.rows, generator)
        embeds, _, pooled, _ = pipeline.encode_prompt(
            texts.unique, None, None, do_classifier_free_guidance=False, device="cpu", max_sequence_length=1
        )
        predicted = transformer(mixed, embeds[rows], pooled[rows], 1000 * sigmas).sample
        batch.step(F.mse_loss(predicted, noise - clean))
    transformer.set_attn_processor(usual)


class LastTokenRepeated:
    """Joint attention of an SD3 block in which the last context token counts `times` times.

    The zeros in the place of a missing T5 are equal tokens and stay equal in every block (the context has no positions),
    so that one key with `log(times)` added to its logits attends exactly as `times` of them do, at a tenth of the cost.
    """

    def __init__(self, times: int) -> None:
        self.bonus = torch.tensor(float(times)).log()

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image tokens [B, N, D] and context tokens [B, M, D] to their attention outputs."""

        def heads(tokens: torch.Tensor) -> torch.Tensor:
            return tokens.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        images, context = hidden_states, encoder_hidden_states
        query = torch.cat([heads(attn.to_q(images)), heads(attn.add_q_proj(context))], dim=2)
        key = torch.cat([heads(attn.to_k(images)), heads(attn.add_k_proj(context))], dim=2)
        value = torch.cat([heads(attn.to_v(images)), heads(attn.add_v_proj(context))], dim=2)
        bias = torch.zeros(key.shape[2])
        bias[-1] = self.bonus
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.expand(query.shape[2], -1))
        mixed = mixed.transpose(1, 2).flatten(2)
        images, context = mixed.split([images.shape[1], context.shape[1]], dim=1)
        if not attn.context_pre_only:
            context = attn.to_add_out(context)
        return attn.to_out[1](attn.to_out[0](images)), context


class CaptionRows:
    """The different captions of the drawings, and the empty one, so that each is encoded once a step."""

    def __init__(self, captions: Sequence[str]) -> None:
        self.unique = [*dict.fromkeys(captions), ""]
        place = {caption: row for row, caption in enumerate(self.unique)}
        self.rows = torch.tensor([place[caption] for caption in captions])

    def draw(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Rows of `unique` for the drawings `rows`, some replaced by the empty caption (classifier-free guidance)."""
        dropped = torch.rand(len(rows), generator=generator) < CAPTION_DROPOUT
        return torch.where(dropped, len(self.unique) - 1, self.rows[rows])
