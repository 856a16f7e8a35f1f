"""From TRL's generation batch to the parts' `RolloutBatch`, and back: rewards shaped, advantages put in place."""

from typing import Any

import torch
from accelerate.utils import gather_object
from trl.trainer.utils import use_adapter

from ...objectives.groups import sum_rewards
from ...objectives.precision import as_full_float
from ...parts.rollout import Advantages, RolloutBatch
from .rounds import RoundsMixin


# What TRL's forward pass takes beside tokens and masks.
IMAGE_FIELDS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)


class RolloutsMixin(RoundsMixin):
    """The seams of generation: capture what TRL drops, shape the rewards, replace the advantages.

    Attributes:
        rollout_rewards: [N, K] of the last generation batch, all processes, as shaped.
    """

    rollout_rewards: torch.Tensor
    _completions: list[Any]
    _written_lengths: list[int]

    def _generate_and_score_completions(self, inputs):
        self._rows = self._bind_prompts(inputs) if self.model.training else inputs
        output = super()._generate_and_score_completions(self._rows)  # type: ignore[misc]
        self._after_generation(output)  # type: ignore[attr-defined]
        estimator = self.parts.get("advantage")
        if estimator is None or not estimator.own:
            return output
        if estimator.needs_old_logps and "old_per_token_logps" not in output:
            output["old_per_token_logps"] = self._token_logps(output)
        batch = self._build_batch(self.rollout_rewards, self._completions, self._written_lengths, output)
        self._place(estimator.estimate(batch), output)
        return output

    def _generate(self, prompts: list):
        result = super()._generate(prompts)
        completion_ids, tool_mask = result[1], result[2]
        # Truncated completions count here, though TRL may mask them.
        self._written_lengths = [
            len(ids) if tool_mask is None else sum(tool_mask[row]) for row, ids in enumerate(completion_ids)
        ]
        return result

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._completions = completions
        shaping = self.parts.get("reward_shaping")
        if shaping is not None and shaping.own:
            for column, name in enumerate(self.reward_func_names):  # type: ignore[attr-defined]
                self._log_part_metrics({f"reward_shaping/raw/{name}/mean": rewards[:, column].nanmean().item()})
            rewards = shaping.shape(self._build_batch(rewards, completions, self._written_lengths))
        self.rollout_rewards = rewards
        self._tell_source(sum_rewards(rewards, self.reward_weights.to(rewards.device)))  # type: ignore[attr-defined]
        return rewards

    def _build_batch(
        self, rewards: torch.Tensor, completions: list, lengths: list[int], output: dict[str, Any] | None = None
    ) -> RolloutBatch:
        """The gathered batch; what needs a forward pass or an exchange of objects waits until a part asks for it.

        Before TRL has made tensors of the batch (`output`), its mask counts every token that was written.
        """
        training = self.model.training
        written = self.accelerator.gather(torch.tensor(lengths, device=rewards.device))
        origins = self.accelerator.gather(torch.tensor(self._origins, device=rewards.device))
        per_prompt = self.num_generations if training else self.num_generations_eval  # type: ignore[attr-defined]
        groups = torch.arange(len(written)) // per_prompt if self._groups is None or not training else self._groups
        load: dict[str, Any] = {
            "rows": lambda: gather_object(self._rows),
            "completions": lambda: gather_object(completions),
        }
        if output is None:
            mask = torch.arange(int(written.max()), device=written.device) < written[:, None]
        else:
            mask = self._gather_tokens(loss_mask(output).bool())
            load["ref_logps"] = lambda: self._gather_tokens(self.reference_logps(output))
            load["old_logps"] = lambda: self._gather_tokens(output["old_per_token_logps"])
            load["truncated"] = lambda: self.accelerator.gather(self._truncated(output))
            load["tempered_logps"] = lambda temperature: self._gather_tokens(self._tempered_logps(output, temperature))
            load.update(self._more_to_load(output))
        return RolloutBatch(
            rewards=rewards,
            reward_weights=self.reward_weights.to(rewards.device),  # type: ignore[attr-defined]
            reward_names=list(self.reward_func_names),  # type: ignore[attr-defined]
            num_generations=per_prompt,
            training=training,
            lengths=written,
            mask=mask,
            groups=groups.to(written.device),
            origins=origins,
            max_completion_length=self.max_completion_length,  # type: ignore[attr-defined]
            load=load,
        )

    def _more_to_load(self, output: dict[str, Any]) -> dict[str, Any]:
        """What a trainer with further models offers the parts, {name: function that computes it when asked}."""
        return {}

    def _gather_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """[n, t] of each process -> [N, T], padded with 0 to the longest of them."""
        # Padding makes integers of booleans, on the processes alone that pad: what is exchanged must have one type.
        numbers = values.to(torch.uint8) if values.dtype == torch.bool else values
        return self.accelerator.gather(self.accelerator.pad_across_processes(numbers, dim=1)).to(values.dtype)

    def _truncated(self, output: dict[str, Any]) -> torch.Tensor:
        """[n] bool, completions of this process whose last token does not end them; an empty one ends at once."""
        lengths = output["completion_mask"].sum(dim=1, keepdim=True).long()
        last = output["completion_ids"].gather(1, (lengths - 1).clamp(min=0)).squeeze(1)
        ends = torch.tensor([*self.eos_token_ids, self._tokenizer.pad_token_id], device=last.device)  # type: ignore[attr-defined]
        return (lengths.squeeze(1) > 0) & ~torch.isin(last, ends)

    def _place(self, advantages: Advantages, output: dict[str, Any]) -> None:
        """Write this process's share of the advantages and extras into TRL's output, and correct TRL's log of them."""
        rows, tokens = output["completion_ids"].shape
        first = self.accelerator.process_index * rows

        def local(values: torch.Tensor) -> torch.Tensor:
            share = values[first : first + rows].to(torch.float32)
            if share.dim() == 1 or share.shape[1] == tokens:
                return share
            # Padding of this process beyond the longest counted token of all.
            share = share[:, :tokens]
            return torch.nn.functional.pad(share, (0, tokens - share.shape[1]))

        output["advantages"] = local(advantages.values)
        for name, values in advantages.extras.items():
            output[name] = local(values)
        per_row = advantages.values
        if per_row.dim() == 2:
            mask = self._gather_tokens(output["completion_mask"])[:, : per_row.shape[1]]
            per_row = (per_row * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        logged = self._logs["advantages"]  # type: ignore[attr-defined]
        for _ in range(min(len(per_row), len(logged))):
            logged.pop()
        logged.extend(per_row.tolist())
        self._log_part_metrics(advantages.metrics)

    def _log_part_metrics(self, metrics: dict[str, float]) -> None:
        mode = "train" if self.model.training else "eval"
        for name, value in metrics.items():
            self._metrics[mode][name].append(float(value))  # type: ignore[attr-defined]

    # Forward passes that parts ask for

    def reference_logps(self, output: dict[str, Any]) -> torch.Tensor | None:
        """[n, t] log-probabilities of the completions under the reference; None where the run has none."""
        if not self.args.needs_reference or "ref_per_token_logps" in output:
            return output.get("ref_per_token_logps")
        if self.ref_model is not None:  # type: ignore[attr-defined]
            return self._token_logps(output, self.ref_model)  # type: ignore[attr-defined]
        policy = self.accelerator.unwrap_model(self.model)
        with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
            return self._token_logps(output)

    def _forward_fields(self, output: dict[str, Any]) -> dict[str, Any]:
        """What the model's forward takes beside tokens: the fields of images, where there are any."""
        return {name: output[name] for name in IMAGE_FIELDS if name in output}

    def _token_logps(self, output: dict[str, Any], model: Any = None) -> torch.Tensor:
        """[n, t] log-probabilities of the completions under the policy as it is, or another model; no gradient."""
        completion_ids = output["completion_ids"]
        with torch.no_grad():
            logps, _, _ = self._get_per_token_logps_and_entropies(  # type: ignore[attr-defined]
                self.model if model is None else model,
                torch.cat([output["prompt_ids"], completion_ids], dim=1),
                torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
                completion_ids.size(1),
                batch_size=self._forward_batch_size,
                **self._forward_fields(output),
            )
        return logps

    def _tempered_logps(self, output: dict[str, Any], temperature: float) -> torch.Tensor:
        """[n, t], as `_token_logps` with the logits divided by `temperature` once more. Needs the full logits."""
        fields = self._forward_fields(output)
        if fields:
            raise ValueError(f"log-probabilities at another temperature are not offered with images ({min(fields)}).")
        completion_ids = output["completion_ids"]
        tokens = completion_ids.size(1)
        input_ids = torch.cat([output["prompt_ids"], completion_ids], dim=1)
        attention_mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        logps = []
        for start in range(0, len(input_ids), self._forward_batch_size):
            rows = slice(start, start + self._forward_batch_size)
            with torch.no_grad(), self.accelerator.autocast():
                logits = self.model(input_ids=input_ids[rows], attention_mask=attention_mask[rows]).logits
            # A row at a time: the float32 copies of all rows' logits would be larger than the forward pass itself.
            for row, ids in zip(logits[:, -tokens - 1 : -1], completion_ids[rows], strict=True):
                scaled = as_full_float(row) / (self.args.temperature * temperature)
                logps.append(scaled.log_softmax(dim=-1).gather(1, ids[:, None]).squeeze(1))
        return torch.stack(logps)

    @property
    def _forward_batch_size(self) -> int:
        args = self.args
        return args.per_device_train_batch_size if self.model.training else args.per_device_eval_batch_size


def loss_mask(batch: dict[str, Any]) -> torch.Tensor:
    """[n, T] the tokens that TRL's loss counts: those of the completion that the model wrote."""
    return batch["completion_mask"] * batch["tool_mask"] if "tool_mask" in batch else batch["completion_mask"]
