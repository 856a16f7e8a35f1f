"""Baseline answers of the initial policy, for rows that bring none: sampled once, when a row is first trained on."""

import contextlib
from collections.abc import Iterator
from typing import Any

from accelerate.utils import gather_object
from trl.models import unwrap_model_for_generation
from trl.trainer.utils import use_adapter

from ...errors import InputError
from ...generation import SamplingParams, derive_seed
from ...generation.transformers_backend import TransformersGenerator
from ...judges.conversations import digest


class BaselineSamplingMixin:
    """Mixin for the online trainer: the reference, which is the policy as it began, answers prompts.

    Each prompt has its own seed, so that its answer depends neither on the batch that it is first seen in nor on the number
    of processes. The advantage part holds the answers of training, `answers`; in evaluation nothing is added to that.
    """

    args: Any
    parts: dict[str, Any]
    accelerator: Any
    model: Any
    ref_model: Any
    _rows: list[dict[str, Any]]
    _answered_in_evaluation: dict[str, str]

    def check_baseline_sampling(self) -> None:
        """Raise `InputError` for models that cannot be asked by one process, or not with a text alone."""
        sharded = self.is_fsdp_enabled or (  # type: ignore[attr-defined]
            self.is_deepspeed_enabled and self.accelerator.state.deepspeed_plugin.zero_stage == 3  # type: ignore[attr-defined]
        )
        reason = None
        if sharded:
            reason = "the processes answer prompts of their own, which a reference sharded by FSDP or ZeRO-3 cannot"
        elif self._is_vlm:  # type: ignore[attr-defined]
            reason = "answers to images are not sampled"
        elif self.tools or self.environment_factories is not None:  # type: ignore[attr-defined]
            reason = "an answer that needs tools or an environment is not sampled"
        if reason is not None:
            raise InputError(
                f"`baseline_source` is 'initial_policy', but {reason}; write the answers into the column "
                f"`{self.args.baseline_column}`."
            )

    def sampled_baseline(self, row: dict[str, Any]) -> str | None:
        """The initial policy's answer to a row's prompt; None where none was sampled."""
        if self.args.baseline_source != "initial_policy":
            return None
        key = digest([row["prompt"]])
        known = self.parts["advantage"].answers.get(key)
        return self._answered_in_evaluation.get(key) if known is None else known

    def sample_baselines(self) -> None:
        """Answer the prompts of this batch, of all processes, that need a baseline answer and have none."""
        if self.args.baseline_source != "initial_policy":
            return
        missing = [row["prompt"] for row in self._rows if self.lacks_baseline(row)]  # type: ignore[attr-defined]
        # The same prompts, in the same order, on every process.
        prompts = {digest([prompt]): prompt for prompt in gather_object(missing)}
        if not prompts:
            return
        mine = list(prompts)[self.accelerator.process_index :: self.accelerator.num_processes]
        texts = self._answers({key: prompts[key] for key in mine})
        target = self.parts["advantage"].answers if self.model.training else self._answered_in_evaluation
        target.update(gather_object(list(texts.items())))

    def _answers(self, prompts: dict[str, Any]) -> dict[str, str]:
        """One answer for each prompt, sampled as the run samples its completions."""
        if not prompts:
            return {}
        args = self.args
        encoded = self._tokenize_prompts(list(prompts.values()))[0]  # type: ignore[attr-defined]
        sampling = SamplingParams(
            args.temperature,
            args.top_p,
            args.top_k or 0,
            self.max_completion_length,  # type: ignore[attr-defined]
        )
        seeds = [derive_seed(args.seed, "baseline", key) for key in prompts]
        with self._initial_policy() as model:
            generator = TransformersGenerator(model, self._tokenizer, self._forward_batch_size)  # type: ignore[attr-defined]
            found = sorted(generator.generate(encoded, sampling, seeds), key=lambda item: item.index)
        return {key: item.text for key, item in zip(prompts, found, strict=True)}

    @contextlib.contextmanager
    def _initial_policy(self) -> Iterator[Any]:
        if self.ref_model is not None:
            yield self.accelerator.unwrap_model(self.ref_model)
            return
        policy = self.accelerator.unwrap_model(self.model)
        with (
            use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None),
            unwrap_model_for_generation(
                self.model_wrapped,  # type: ignore[attr-defined]
                self.accelerator,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as model,
        ):
            yield model
