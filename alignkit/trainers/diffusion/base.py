"""DiffusionTrainer: `transformers.Trainer` for a denoiser that learns from pairs of images."""

from collections import defaultdict
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from transformers import Trainer, TrainerCallback, set_seed

from ..resume import ExactResumeMixin
from ..run_facts import RunFactsMixin
from .config import DiffusionConfig
from .data import build_examples
from .ema import TrainedEMA
from .errors import Pair, PairErrors, draw_noise, pair_errors
from .examples import collate, encode_batch
from .export import publish_weights, write_card, write_weights
from .families import Conditions, family_of
from .lora import prepare_denoiser
from .pipelines import load_pipeline, local_name
from .references import Reference, initial_reference
from .sample_images import SampleImages
from .seeds import generator_of
from .state import DiffusionStateMixin


class AfterUpdate(TrainerCallback):
    """Tells the trainer that the weights have changed, before anything is saved."""

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        self.trainer.after_update()


class DiffusionTrainer(RunFactsMixin, ExactResumeMixin, DiffusionStateMixin, Trainer):
    """Base of the trainers of diffusion models.

    A method gives `pair` (the two images of each example) and `pair_loss` (from their prediction errors). Not on TRL's
    base trainer: that reads `model.config.model_type`, which a denoiser has not.

    Args:
        model: a diffusers pipeline, or the name of one (of the Hub, a folder, or `bundled/tiny-sd`).
        args: the configuration.
        train_dataset: a `datasets.Dataset` with `prompt` and the method's image columns.
        eval_dataset: the same to evaluate on.
        peft_config: a `peft.LoraConfig` for an adapter on the denoiser; None trains all of its weights.
        callbacks, optimizers: as in `transformers.Trainer`.

    Raises:
        InputError: for data, a pipeline or a resolution that cannot be trained on, before anything is encoded.
    """

    # Columns of the images, the preferred one first.
    image_columns: ClassVar[tuple[str, ...]] = ()

    args: DiffusionConfig

    def __init__(
        self,
        model: Any,
        args: DiffusionConfig,
        train_dataset: Any,
        eval_dataset: Any = None,
        peft_config: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple = (None, None),
    ):
        self.model_source = model if isinstance(model, str) else getattr(model, "name_or_path", None) or "a pipeline"
        pipeline = load_pipeline(local_name(model), variant=args.variant) if isinstance(model, str) else model
        self.family = family_of(pipeline)
        self.resolution = args.resolution or self.family.default_resolution
        self.family.check_resolution(self.resolution)
        set_seed(args.seed)  # the adapter's first weights
        prepare_denoiser(self.family.denoiser, peft_config)
        pipeline.vae.to(args.device)
        for encoder in self.family.text_encoders:
            encoder.to(args.device)
        examples = [
            None if data is None else build_examples(data, self.family, self.image_columns, self.resolution, args)
            for data in (train_dataset, eval_dataset)
        ]
        self.empty = self.family.empty_prompt()
        prompts = (train_dataset if eval_dataset is None else eval_dataset).select_columns("prompt")
        self.sample_prompts = args.sample_prompts or prompts[: args.num_sample_prompts]["prompt"]
        self.sample_conditions = self.family.encode_prompt(self.sample_prompts) if self.sample_prompts else {}
        if args.cache_latents:
            for encoder in self.family.text_encoders:
                encoder.to("cpu")
        denoiser = self.family.denoiser
        # diffusers' name for what transformers asks a model for.
        denoiser.activation_checkpointing_enable = lambda **_: denoiser.enable_gradient_checkpointing()
        super().__init__(
            model=denoiser,
            args=args,
            data_collator=collate,
            train_dataset=examples[0],
            eval_dataset=examples[1],
            callbacks=callbacks,
            optimizers=optimizers,
        )
        self.reference = self.make_reference()
        self.ema = None if args.ema_decay is None else TrainedEMA(self.model, args.ema_decay)
        self.generators = {"noise": generator_of(args.seed, "noise", self.accelerator.process_index)}
        self._eval_generator = generator_of(args.seed, "evaluation", self.accelerator.process_index)
        self._metrics: dict[str, dict[str, list[float]]] = {"train": defaultdict(list), "eval": defaultdict(list)}
        self.add_callback(AfterUpdate(self))
        self.add_callback(SampleImages(self))

    # What a method says of itself

    def make_reference(self) -> Reference:
        """The reference model."""
        return initial_reference(self.model)

    def before_update(self) -> None:
        """Called when an update begins, before its batches are prepared."""

    def prepare(self, batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add to encoded batches, those of one update or one of an evaluation, what the method makes itself."""
        return batches

    def pair(self, batch: dict[str, Any]) -> Pair:
        """The two images of each example."""
        raise NotImplementedError

    def pair_loss(self, errors: PairErrors) -> torch.Tensor:
        """Loss of each example, [B]."""
        raise NotImplementedError

    def pair_metrics(self, errors: PairErrors) -> dict[str, torch.Tensor]:
        """Further numbers to log, {name: [B] or scalar}; their means over the batch are logged."""
        return {}

    def after_update(self) -> None:
        """Called when an update is done."""
        if self.ema is not None:
            self.ema.update()

    # The seams of `transformers.Trainer`

    def _prepare_for_training(self, max_steps, train_dataloader, resume_from_checkpoint):
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        # TensorBoard's callback wants `model.config` as JSON, which a denoiser's is not.
        self.callback_handler.model = None
        return prepared

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.before_update()
        return self.prepare([self._encoded(batch) for batch in batches]), count

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        pair = self.pair(inputs)
        training = model.training
        noise = draw_noise(
            pair,
            len(self.family.schedule),
            self.args.share_noise,
            self.args.prompt_dropout if training else 0.0,
            self.generators["noise"] if training else self._eval_generator,
        )
        empty = {name: values.to(pair.first.device) for name, values in self.empty.items()}
        errors = pair_errors(self.family, model, self.reference, pair, noise, empty)
        losses = self.pair_loss(errors)
        self._record(errors, "train" if training else "eval")
        return (losses.mean(), None) if return_outputs else losses.mean()

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        (batch,) = self.prepare([self._encoded(inputs)])
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, batch)
        return loss.detach(), None, None

    def evaluate(self, *args, **kwargs):
        """As `transformers.Trainer.evaluate`; every evaluation draws the same noise."""
        self._eval_generator = generator_of(self.args.seed, "evaluation", self.accelerator.process_index)
        return super().evaluate(*args, **kwargs)

    def _encoded(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch on the device, as latents and conditions."""
        return encode_batch(self._prepare_inputs(batch), self.family)

    def _record(self, errors: PairErrors, mode: str) -> None:
        """Average over the batch and the processes, and keep for the next log line."""
        first, second = errors.changes
        values = {
            "implicit_accuracy": (first < second).float(),
            "errors/policy_chosen": errors.policy_first,
            "errors/policy_other": errors.policy_second,
            "errors/ref_chosen": errors.ref_first,
            "errors/ref_other": errors.ref_second,
            **self.pair_metrics(errors),
        }
        means = torch.stack([value.detach().float().mean() for value in values.values()])
        for name, mean in zip(values, self.accelerator.reduce(means, "mean").tolist(), strict=True):
            self._metrics[mode][name].append(mean)

    def log(self, logs, start_time=None):
        mode = "eval" if any(name.startswith("eval_") for name in logs) else "train"
        prefix = "eval_" if mode == "eval" else ""
        means = {f"{prefix}{name}": sum(values) / len(values) for name, values in self._metrics[mode].items()}
        self._metrics[mode].clear()
        super().log({**logs, **means}, start_time)

    # Sampling and saving

    def sample_latents(self, denoiser: Any, conditions: Conditions, seeds: list[int]) -> torch.Tensor:
        """Latents [B, C, H, W] for conditions [B, ...], each from its seed, under this run's sampler settings."""
        device = self.args.device
        with self.compute_loss_context_manager():
            return self.family.sample(
                denoiser,
                {name: values.to(device) for name, values in conditions.items()},
                {name: values.to(device) for name, values in self.empty.items()},
                seeds,
                self.resolution,
                self.args.num_inference_steps,
                self.args.guidance_scale,
            )

    def sample_pictures(self, conditions: Conditions, seeds: list[int]) -> list[Any]:
        """Images (PIL) for one prompt's conditions [1, ...], one per seed, by the model that would be saved."""
        repeated = {name: values.expand(len(seeds), *values.shape[1:]) for name, values in conditions.items()}
        with self.saved_weights():
            latents = self.sample_latents(self.model, repeated, seeds)
        return self.family.decode(latents)

    def saved_weights(self):
        """Inside, the denoiser has the weights that are saved: the moving average where there is one."""
        return nullcontext() if self.ema is None else self.ema.applied()

    def _save(self, output_dir=None, state_dict=None):
        output_dir = output_dir or self.args.output_dir
        with self.saved_weights():
            write_weights(self, output_dir, is_checkpoint=self._staging_dir is not None)

    def save_model(self, output_dir=None, _internal_call=False):
        super().save_model(output_dir, _internal_call)
        if self.args.should_save and self._staging_dir is None:
            write_card(self, output_dir or self.args.output_dir)

    def _push_from_checkpoint(self, checkpoint_folder):
        if self._staging_dir is None and self.args.should_save:
            publish_weights(checkpoint_folder, self.args.output_dir)
        super()._push_from_checkpoint(checkpoint_folder)

    def create_model_card(self, *args, **kwargs) -> None:
        """Write `README.md` into `output_dir`."""
        if self.args.should_save:
            write_card(self, self.args.output_dir)
