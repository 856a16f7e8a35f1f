"""From TRL's generation batch to the parts' `RolloutBatch`, and back: rewards shaped, advantages put in place."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object

from ...objectives.precision import as_full_float
from ...parts.rollout import Advantages, RolloutBatch


@dataclass
class Capture:
    """What this process generated last, which TRL's output does not hold.

    Attributes:
        rows: its data set rows.
        completions: its completions, texts or lists of messages.
        lengths: [n] tokens that the model wrote, truncated completions included.
        rewards: [N, K] of all processes, as the reward functions gave them.
    """

    rows: list[dict[str, Any]]
    completions: list[Any]
    lengths: torch.Tensor
    rewards: torch.Tensor


class RolloutsMixin:
    """The seams of generation: capture what TRL drops, shape the rewards, replace the advantages."""

    parts: dict[str, Any]
    accelerator: Any
    model: Any
    args: Any
    _capture: Capture | None = None
    _written_lengths: list[int] | None = None

    def _generate(self, prompts: list):
        result = super()._generate(prompts)  # type: ignore[misc]
        completion_ids, tool_mask = result[1], result[2]
        self._written_lengths = [
            len(ids) if tool_mask is None else sum(tool_mask[row]) for row, ids in enumerate(completion_ids)
        ]
        return result

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        lengths = torch.tensor(self._written_lengths, device=rewards.device)
        self._capture = Capture(inputs, completions, lengths, rewards)
        shaping = self.parts.get("reward_shaping")
        if shaping is None:
            return rewards
        # The token mask is not known yet; a shaping sees rows, texts, lengths and rewards.
        shaped = shaping.shape(self._rollout_batch(mask=None))
        for column, name in enumerate(self.reward_func_names):  # type: ignore[attr-defined]
            self._log_part_metrics({f"reward_shaping/raw/{name}/mean": rewards[:, column].nanmean().item()})
        self._capture.rewards = shaped
        return shaped

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        self._after_generation(output)  # type: ignore[attr-defined]
        estimator = self.parts.get("advantage")
        if estimator is None or not estimator.own:
            return output
        if estimator.needs_old_logps and "old_per_token_logps" not in output:
            output["old_per_token_logps"] = self._token_logps(output)
        mask = output["completion_mask"]
        if "tool_mask" in output:
            mask = mask * output["tool_mask"]
        batch = self._rollout_batch(mask.bool(), output)
        self._place(estimator.estimate(batch), output)
        return output

    def _rollout_batch(self, mask: torch.Tensor | None, output: dict[str, Any] | None = None) -> RolloutBatch:
        """The gathered batch; what needs a forward pass or an exchange of objects waits until a part asks for it."""
        capture = self._capture
        assert capture is not None
        training = self.model.training
        lengths = self.accelerator.gather(capture.lengths)
        if mask is None:
            tokens = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
        else:
            tokens = self._gather_tokens(mask)
        load = {"rows": lambda: gather_object(capture.rows), "completions": lambda: gather_object(capture.completions)}
        if output is not None:
            load["old_logps"] = lambda: self._gather_tokens(output["old_per_token_logps"])
            load["tempered_logps"] = lambda temperature: self._gather_tokens(self._tempered_logps(output, temperature))
        return RolloutBatch(
            rewards=capture.rewards,
            reward_weights=self.reward_weights.to(capture.rewards.device),  # type: ignore[attr-defined]
            reward_names=list(self.reward_func_names),  # type: ignore[attr-defined]
            num_generations=self.num_generations if training else self.num_generations_eval,  # type: ignore[attr-defined]
            training=training,
            lengths=lengths,
            mask=tokens,
            load=load,
        )

    def _gather_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """[n, t] of each process -> [N, T], padded with 0 to the longest of them."""
        return self.accelerator.gather(self.accelerator.pad_across_processes(values, dim=1))

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

    def _forward_fields(self, output: dict[str, Any]) -> dict[str, Any]:
        """What the model's forward takes beside tokens: the fields of images, where there are any."""
        ours = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "tool_mask", "advantages")
        computed = ("num_items_in_batch", "importance_sampling_ratio")
        return {
            name: value
            for name, value in output.items()
            if name not in ours and name not in computed and not name.endswith("logps")
        }

    def _token_logps(self, output: dict[str, Any]) -> torch.Tensor:
        """[n, t] log-probabilities of the completions under the policy as it is, without gradient."""
        completion_ids = output["completion_ids"]
        with torch.no_grad():
            logps, _, _ = self._get_per_token_logps_and_entropies(  # type: ignore[attr-defined]
                self.model,
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
            scaled = as_full_float(logits[:, -tokens - 1 : -1]) / (self.args.temperature * temperature)
            logps.append(scaled.log_softmax(dim=-1).gather(2, completion_ids[rows, :, None]).squeeze(2))
        return torch.cat(logps)

    @property
    def _forward_batch_size(self) -> int:
        args = self.args
        return args.per_device_train_batch_size if self.model.training else args.per_device_eval_batch_size

