"""The policy loss as a part, inside TRL's own `_compute_loss`: one forward pass, none of TRL's code repeated."""

from typing import Any

import torch

from ...objectives.policy import aggregate
from ...parts.tokens import TokenBatch
from .rollouts import loss_mask


class PolicyLossMixin:
    """The seam of the loss.

    TRL's `_compute_loss` is one long function that asks `_get_per_token_logps_and_entropies` for a forward pass and then
    reads its inputs. The inputs are ours: between the two, the part's loss is built from the fresh log-probabilities,
    and the advantages that TRL goes on with are set to 0. What TRL then returns is the KL, entropy and router terms
    alone, which the part's loss is added to.
    """

    parts: dict[str, Any]
    accelerator: Any
    model: Any
    args: Any
    _loss_inputs: dict[str, Any] | None = None
    _own_loss: torch.Tensor | None = None

    def _compute_loss(self, model, inputs):
        part, estimator = self.parts.get("policy_loss"), self.parts.get("advantage")
        observes = estimator is not None and estimator.observes_tokens
        if not observes and (part is None or not (part.own or part.log_ratio_limit)):
            return super()._compute_loss(model, inputs)  # type: ignore[misc]
        self._loss_inputs, self._own_loss = dict(inputs), None
        own_kl = part is not None and part.own_kl
        beta = self.beta  # type: ignore[has-type]
        if own_kl:
            self.beta = 0.0  # the part's loss holds the KL term
        try:
            loss = super()._compute_loss(model, self._loss_inputs)  # type: ignore[misc]
        finally:
            self._loss_inputs, self.beta = None, beta
        if self._own_loss is None:
            return loss
        metrics = self._metrics["train" if self.model.training else "eval"]
        # TRL's clipping did not happen, and its policy loss was 0.
        for name in [name for name in metrics if name.startswith("clip_ratio/")]:
            del metrics[name]
        if "policy_loss" in metrics:
            metrics["policy_loss"][-1] = self.accelerator.gather(self._own_loss.detach()).mean().item()
        return loss + self._own_loss

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        if self._loss_inputs is not None:
            self._between_forward_and_loss(self._loss_inputs, *result[:2])
        return result

    def _between_forward_and_loss(self, inputs: dict[str, Any], logps: torch.Tensor, entropies: torch.Tensor) -> None:
        part, estimator = self.parts.get("policy_loss"), self.parts.get("advantage")
        batch = self._token_batch(inputs, logps, entropies)
        if estimator is not None and estimator.observes_tokens and batch.training:
            estimator.observe(batch)
        if part is None:
            self._log_token_metrics(batch)
            return
        limit = part.log_ratio_limit
        if limit is not None and batch.old_logps is not None:
            log_ratio = logps.detach() - batch.old_logps
            bounded = logps.detach() - log_ratio.clamp(-limit, limit)
            inputs["old_per_token_logps"] = torch.where(log_ratio.abs() > limit, bounded, batch.old_logps)
        if not part.own:
            part.measure(batch, self.args)
            self._log_token_metrics(batch)
            return
        per_token = part.token_loss(batch)
        if "importance_sampling_ratio" in inputs:  # vLLM sampled from a slightly other distribution
            per_token = per_token * inputs["importance_sampling_ratio"]
        self._own_loss = self._reduce_tokens(per_token, batch.mask, inputs)
        self._log_token_metrics(batch)
        inputs["advantages"] = torch.zeros_like(inputs["advantages"])
        if self.beta == 0.0:
            inputs.pop("old_per_token_logps", None)  # nothing of TRL's reads the ratio: it must not overflow either

    def _token_batch(self, inputs: dict[str, Any], logps: torch.Tensor, entropies: torch.Tensor) -> TokenBatch:
        estimator = self.parts.get("advantage")
        names = estimator.extras(estimator.config) if estimator is not None else ()
        return TokenBatch(
            logps=logps,
            old_logps=inputs.get("old_per_token_logps"),
            ref_logps=inputs.get("ref_per_token_logps"),
            advantages=inputs["advantages"],
            mask=loss_mask(inputs).bool(),
            entropies=entropies.detach(),
            extras={name: inputs[name] for name in names},
            training=self.model.training,
            epsilon_low=self.epsilon_low,  # type: ignore[attr-defined]
            epsilon_high=self.epsilon_high,  # type: ignore[attr-defined]
            beta=self.args.beta,
            reduce_sum=lambda values: self.accelerator.reduce(values, reduction="sum"),
            gather=self._concatenate,
        )

    def _concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """The values of all processes, [k, ...] with a k of its own for each, one after another."""
        counts = self.accelerator.gather(torch.tensor([len(values)], device=values.device)).tolist()
        padded = self.accelerator.gather(self.accelerator.pad_across_processes(values))
        return torch.cat([padded[rank * max(counts) :][:count] for rank, count in enumerate(counts)])

    def _reduce_tokens(self, per_token: torch.Tensor, mask: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """Token losses as one number, with the divisions that TRL makes for gradient accumulation."""
        how = self.args.loss_type
        if how == "dapo":
            return self._token_mean(torch.where(mask, per_token, 0.0), inputs)
        return aggregate(per_token, mask, how, self.max_completion_length) / self._accumulation  # type: ignore[attr-defined]

    def _token_mean(self, per_token: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """[n, T] losses, 0 where masked, as their mean over the tokens of the accumulation window of all processes."""
        items = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        if self.model.training:
            items = items * self._accumulation / self.args.steps_per_generation
        return per_token.sum() / items

    @property
    def _accumulation(self) -> int:
        return self.current_gradient_accumulation_steps if self.model.training else 1  # type: ignore[attr-defined]

    def _log_token_metrics(self, batch: TokenBatch) -> None:
        """Log what the part measured: [n, T] as means over the counted tokens of all processes, scalars as means."""
        mode = "train" if self.model.training else "eval"
        names = sorted(name for name, value in batch.metrics.items() if value.dim() == 2)
        count = batch.mask.sum().float()
        sums = [torch.where(batch.mask, batch.metrics[name].detach(), 0.0).sum().float() for name in names]
        if sums:
            *totals, total = self.accelerator.reduce(torch.stack([*sums, count]), reduction="sum").tolist()
            for name, value in zip(names, totals, strict=True):
                self._metrics[mode][name].append(value / max(total, 1.0))  # type: ignore[attr-defined]
        scalars = sorted(name for name, value in batch.metrics.items() if value.dim() == 0)
        if scalars:
            values = torch.stack([batch.metrics[name].detach().float() for name in scalars])
            means = self.accelerator.reduce(values, reduction="mean").tolist()
            for name, value in zip(scalars, means, strict=True):
                self._metrics[mode][name].append(value)  # type: ignore[attr-defined]
