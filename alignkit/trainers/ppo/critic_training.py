"""How a critic learns: its loss, its own optimizer and schedule, and its share of a checkpoint."""

import math
import os
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import get_scheduler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ...objectives.values import value_loss
from .critics import Critic, SharedHeadCritic


WEIGHTS_FILE = "critic.safetensors"
OPTIMIZER_FILE = "critic_optimizer.pt"


class CriticMixin:
    """Mixin for the online trainer: values of a generation batch, the value loss beside the policy's, exact resume."""

    args: Any
    accelerator: Any
    model: Any
    state: Any
    critic: Critic
    critic_optimizer: torch.optim.Optimizer
    critic_scheduler: Any

    def create_critic_optimizer(self) -> None:
        """AdamW over the critic's parameters, with the policy's betas and the critic's learning rate."""
        args = self.args
        betas = (args.adam_beta1, args.adam_beta2)
        self.critic_optimizer = torch.optim.AdamW(
            self.critic.parameters(),
            lr=args.critic_learning_rate,
            betas=betas,
            eps=args.adam_epsilon,
            weight_decay=0.0,
        )

    def create_scheduler(self, num_training_steps, optimizer=None):
        args = self.args
        self.critic_scheduler = get_scheduler(
            args.lr_scheduler_type,
            optimizer=self.critic_optimizer,
            num_warmup_steps=args.get_warmup_steps(num_training_steps),
            num_training_steps=num_training_steps,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )
        return super().create_scheduler(num_training_steps, optimizer)  # type: ignore[misc]

    # Values

    def _more_to_load(self, output: dict[str, Any]) -> dict[str, Any]:
        return {
            **super()._more_to_load(output),  # type: ignore[misc]
            "values": lambda: self._gather_tokens(self._old_values(output)),  # type: ignore[attr-defined]
        }

    def _old_values(self, output: dict[str, Any]) -> torch.Tensor:
        """[n, T] values of a generation batch under the critic as it is, without gradient."""
        input_ids, attention_mask, tokens = sequences(output)
        size = self._forward_batch_size  # type: ignore[attr-defined]
        with torch.no_grad(), self.critic.active():
            return torch.cat(
                [
                    self.critic.values(input_ids[start : start + size], attention_mask[start : start + size], tokens)
                    for start in range(0, len(input_ids), size)
                ]
            )

    # Loss

    def _compute_loss(self, model, inputs):
        policy_loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
        training = self.model.training
        warming_up = training and self.state.global_step < self.args.critic_warmup_steps
        input_ids, attention_mask, tokens = sequences(inputs)
        if isinstance(self.critic, SharedHeadCritic):
            if not torch.is_grad_enabled():
                values = self.critic.values(input_ids, attention_mask, tokens)
            else:
                detach = self.args.detach_value_backbone or warming_up
                values = self.critic.values_of_policy_pass(tokens, detach)
            loss = self._value_loss(values, inputs)
            return policy_loss * (0.0 if warming_up else 1.0) + self.args.vf_coef * loss
        with self.critic.active():
            loss = self._value_loss(self.critic.values(input_ids, attention_mask, tokens), inputs)
            if training:
                # At once, while the critic's adapter is active: checkpointed activations are computed again in backward.
                loss.backward()
        return policy_loss * 0.0 if warming_up else policy_loss

    def _value_loss(self, values: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """The clipped value loss as one number, averaged as a token mean over the accumulation window."""
        mask, old, returns = inputs["value_mask"].bool(), inputs["old_values"], inputs["returns"]
        clip = self.args.cliprange_value
        losses = value_loss(values, old, returns, mask, clip)
        mode = "train" if self.model.training else "eval"
        moved = (values - old).detach().abs() > (math.inf if clip is None else clip)
        sums = torch.stack([losses.detach().sum(), (moved & mask).sum().to(losses), mask.sum().to(losses)])
        total, clipped, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        self._metrics[mode]["value/loss"].append(total / max(count, 1.0))  # type: ignore[attr-defined]
        self._metrics[mode]["value/clip_fraction"].append(clipped / max(count, 1.0))  # type: ignore[attr-defined]
        return self._token_mean(losses, inputs)  # type: ignore[attr-defined]

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        if self.accelerator.sync_gradients:
            self._critic_step()
        return loss

    def _critic_step(self) -> None:
        """One step of the critic's optimizer; its gradients are averaged over the processes here, outside of DDP."""
        parameters = self.critic.parameters()
        if self.accelerator.num_processes > 1:
            for item in parameters:
                grad = torch.zeros_like(item) if item.grad is None else item.grad
                item.grad = self.accelerator.reduce(grad, reduction="mean")
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.args.critic_max_grad_norm)
        self._metrics["train"]["value/grad_norm"].append(norm.item())  # type: ignore[attr-defined]
        self._metrics["train"]["value/learning_rate"].append(  # type: ignore[attr-defined]
            self.critic_optimizer.param_groups[0]["lr"]
        )
        self.critic_optimizer.step()
        self.critic_scheduler.step()
        self.critic_optimizer.zero_grad(set_to_none=True)

    # Checkpoints

    def _save_checkpoint(self, model, trial) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        if not self.args.should_save:
            return
        folder = os.path.join(
            self._get_output_dir(trial),  # type: ignore[attr-defined]
            f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}",
        )
        weights = {name: value.cpu().contiguous().clone() for name, value in self.critic.state().items()}
        save_file(weights, os.path.join(folder, WEIGHTS_FILE))
        states = {"optimizer": self.critic_optimizer.state_dict(), "scheduler": self.critic_scheduler.state_dict()}
        torch.save(states, os.path.join(folder, OPTIMIZER_FILE))

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is None:
            return
        self.critic.load_state(load_file(os.path.join(checkpoint, WEIGHTS_FILE)))
        states = torch.load(os.path.join(checkpoint, OPTIMIZER_FILE), map_location="cpu", weights_only=True)
        self.critic_optimizer.load_state_dict(states["optimizer"])
        self.critic_scheduler.load_state_dict(states["scheduler"])


def sequences(batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Prompts and completions of a batch as the model reads them: tokens, attention mask, length of the completions."""
    return (
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
        batch["completion_ids"].size(1),
    )
