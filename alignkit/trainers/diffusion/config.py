"""DiffusionConfig: `transformers.TrainingArguments` plus what every method of the family shares."""

import os
from dataclasses import dataclass, field

from transformers import TrainingArguments

from ...generation.images import require_diffusers
from ...objectives.arguments import require_range
from ...objectives.diffusion import check_diffusion_dpo


@dataclass
class DiffusionConfig(TrainingArguments):
    r"""Configuration shared by the trainers of diffusion models; everything else is [`transformers.TrainingArguments`]'s.

    Raises:
        ValueError: for a value outside its range.
        InputError: where diffusers is not installed.
    """

    beta: float = field(
        default=5000.0,
        metadata={
            "help": "Strength of the pull to the reference, for errors averaged over pixels: the value of the Diffusion-DPO "
            "code (its paper: 2000 for SD 1.5, 5000 for SDXL). Not given in the paper of SePPO; ours. Flow models have "
            "larger errors and need less. Valid: above 0, finite."
        },
    )
    share_noise: bool = field(
        default=True,
        metadata={
            "help": "Whether both images of a pair get the same noise, as in the Diffusion-DPO code; the time is always "
            "shared. SePPO's paper writes two noises; sharing is ours."
        },
    )
    prompt_dropout: float = field(
        default=0.1,
        metadata={
            "help": "Share of the examples that are trained without their prompt, which keeps classifier-free guidance "
            "working. Not given in the papers; ours. Valid: 0 to 1; 0 for a model used without guidance."
        },
    )
    resolution: int | None = field(
        default=None,
        metadata={
            "help": "Pixels of the square that images are scaled and cut to; default: what the pipeline makes. Valid: a "
            "multiple of the VAE's factor."
        },
    )
    variant: str | None = field(default=None, metadata={"help": "Variant of the weight files to load, e.g. fp16."})
    cache_latents: bool = field(
        default=True,
        metadata={
            "help": "Encode all images and prompts once before training and read them from disk; false encodes each batch "
            "when it is used, and keeps the text encoders on the device."
        },
    )
    latents_dir: str | None = field(
        default=None,
        metadata={"help": "Folder of the encoded data, which runs may share; default: `_encoded` in `output_dir`."},
    )
    encode_batch_size: int = field(
        default=8, metadata={"help": "Images or prompts encoded at once. Valid: at least 1."}
    )
    ema_decay: float | None = field(
        default=None,
        metadata={
            "help": "Decay of a moving average of the trained weights, which sample images and the saved model then use; "
            "none: no average. Valid: 0 to 1, both excluded."
        },
    )
    num_inference_steps: int = field(
        default=25, metadata={"help": "Sampling steps of an image. Not given in the papers; ours. Valid: at least 1."}
    )
    guidance_scale: float = field(
        default=7.5,
        metadata={
            "help": "Classifier-free guidance when sampling; 1 is none. Not given in the papers; ours. Valid: at least 1."
        },
    )
    sample_prompts: list[str] | None = field(
        default=None,
        metadata={
            "help": "Prompts of the sample images that are made before training, every `eval_steps` steps and at the end; "
            "default: the first of the evaluation data, or of the training data."
        },
    )
    num_sample_prompts: int = field(
        default=4,
        metadata={
            "help": "How many prompts of the data where `sample_prompts` is not given. Valid: at least 0; 0: none."
        },
    )
    samples_per_prompt: int = field(
        default=4, metadata={"help": "Sample images of each prompt, a row of the grid. Valid: at least 1."}
    )

    # What differs from the defaults of transformers.
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must stay false: the columns are not those of the denoiser's `forward`."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Log every so many updates."})

    def __post_init__(self):
        require_diffusers()
        super().__post_init__()
        check_diffusion_dpo(self.beta)
        require_range("prompt_dropout", self.prompt_dropout, 0.0, 1.0)
        require_range("guidance_scale", self.guidance_scale, 1.0)
        for name, least in (
            ("encode_batch_size", 1),
            ("num_inference_steps", 1),
            ("num_sample_prompts", 0),
            ("samples_per_prompt", 1),
        ):
            require_range(name, getattr(self, name), least)
        if self.ema_decay is not None:
            require_range("ema_decay", self.ema_decay, 0.0, 1.0, low_open=True, high_open=True)
        if (
            self.deepspeed_plugin is not None
            or self.fsdp
            or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
        ):
            raise ValueError(
                "the diffusion trainers run as plain data parallel; take the accelerate config of one or several GPUs, not "
                "DeepSpeed's or FSDP's."
            )
        if self.remove_unused_columns:
            raise ValueError("`remove_unused_columns` is True; the diffusion trainers need False.")
        if self.sample_prompts is not None:
            for index, prompt in enumerate(self.sample_prompts):
                if not prompt.strip():
                    raise ValueError(f"`sample_prompts` holds an empty prompt at index {index}.")
