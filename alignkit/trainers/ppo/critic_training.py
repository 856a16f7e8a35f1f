"""How a critic learns: its loss, its own optimizer and schedule, and its share of a checkpoint."""

import contextlib
import functools
import math
import os
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import broadcast
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import get_scheduler

from ...errors import InputError
from ...objectives.values import value_loss as token_value_losses
from ...parts.rollout import Advantages
from ..online.prompt_sharing import in_order
from ..online.rollouts import loss_mask
from .critics import Critic, SharedHeadCritic


WEIGHTS_FILE = "critic.safetensors"
OPTIMIZER_FILE = "critic_optimizer.pt"


class CriticMixin:
    """Mixin for the online trainer: values of a generation batch, the value loss beside the policy's, exact resume."""

    args: Any
    accelerator: Any
    model: Any
    state: Any
    optimizer: Any
    critic: Critic
    critic_optimizer: torch.optim.Optimizer
    critic_scheduler: Any

    def open_critic(self, critic: Critic) -> None:
        """Take the critic, the same on every process, and make its AdamW: the policy's betas, its own learning rate."""
        args, self.critic = self.args, critic
        if self.accelerator.num_processes > 1:
            for item in critic.parameters():
                item.data = broadcast(item.data)
        self.critic_optimizer = torch.optim.AdamW(
            critic.parameters(),
            lr=args.critic_learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
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
        values = functools.cache(lambda: self._old_values(output))

        def end_values() -> torch.Tensor:
            lengths = output["completion_mask"].sum(dim=1, keepdim=True).long()
            return self.accelerator.gather(values().gather(1, lengths).squeeze(1))

        return {
            **super()._more_to_load(output),  # type: ignore[misc]
            "values": lambda: self._gather_tokens(values()[:, :-1]),  # type: ignore[attr-defined]
            "end_values": end_values,
        }

    def _old_values(self, output: dict[str, Any]) -> torch.Tensor:
        """[n, T + 1] values of a generation batch under the critic as it is, without gradient."""
        input_ids, attention_mask, tokens = sequences(output)
        passes = self.passes(input_ids, attention_mask, tokens, self._forward_batch_size)  # type: ignore[attr-defined]
        with torch.no_grad(), self.critic.active():
            values = [self.critic.values(input_ids[rows], attention_mask[rows], tokens) for rows in passes]
        return in_order(values, passes)

    def _place(self, advantages: Advantages, output: dict[str, Any]) -> None:
        super()._place(advantages, output)  # type: ignore[misc]
        # A row that nobody scored counts in no loss and in no token mean. It is still read: only the loss's mask changes.
        output["tool_mask"] = output.pop("scored").to(output["completion_mask"])
        output["num_items_in_batch"] = self.accelerator.gather(loss_mask(output).sum()).sum()
        if self.num_generations == 1:  # type: ignore[attr-defined]
            mode = "train" if self.model.training else "eval"
            self._metrics[mode].pop("frac_reward_zero_std", None)  # type: ignore[attr-defined]

    # Loss

    @property
    def _warming_up(self) -> bool:
        """Whether the critic alone learns in this step."""
        return self.model.training and self.state.global_step < self.args.critic_warmup_steps

    def _compute_loss(self, model, inputs):
        input_ids, attention_mask, tokens = sequences(inputs)
        self.set_sharing_form(input_ids, tokens)  # type: ignore[attr-defined]
        if isinstance(self.critic, SharedHeadCritic):
            policy_loss = self._policy_loss(model, inputs)
            if torch.is_grad_enabled():
                detach = self.args.detach_value_backbone or self._warming_up
                values = self.critic.values_of_policy_pass(tokens, detach)
            else:
                values = self.critic.values(input_ids, attention_mask, tokens, after=False)
            return policy_loss + self.args.vf_coef * self._value_loss(values, inputs)
        # Backward at once: the critic's activations are gone before the policy's exist, and those that are computed again
        # (gradient checkpointing) are computed with the critic's adapter.
        with self.critic.active():
            values = self.critic.values(input_ids, attention_mask, tokens, after=False)
            value_loss = self._value_loss(values, inputs)
            if self.model.training:
                value_loss.backward()
        return self._policy_loss(model, inputs)

    def _policy_loss(self, model, inputs) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
        return loss * 0.0 if self._warming_up else loss

    def _value_loss(self, values: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """The clipped value loss as one number, averaged as a token mean over the accumulation window."""
        mask, old, returns = loss_mask(inputs).bool(), inputs["old_values"], inputs["returns"]
        clip = self.args.cliprange_value
        losses = token_value_losses(values, old, returns, mask, clip)
        moved = (values - old).detach().abs() > (math.inf if clip is None else clip)
        sums = torch.stack([losses.detach().sum(), (moved & mask).sum().to(losses), mask.sum().to(losses)])
        total, clipped, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        self._log_part_metrics(  # type: ignore[attr-defined]
            {"value/loss": total / max(count, 1.0), "value/clip_fraction": clipped / max(count, 1.0)}
        )
        return self._token_mean(losses, inputs)  # type: ignore[attr-defined]

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        if self.accelerator.sync_gradients:
            self._critic_step()
            if self._warming_up:
                # Without a gradient AdamW leaves a weight alone, with one of 0 its decay and momentum still move it.
                for group in self.optimizer.param_groups:
                    for item in group["params"]:
                        item.grad = None
        return loss

    def _critic_step(self) -> None:
        """One step of the critic's optimizer; its gradients are averaged over the processes here, outside of DDP."""
        parameters = self.critic.parameters()
        if self.accelerator.num_processes > 1:
            for item in parameters:
                grad = torch.zeros_like(item) if item.grad is None else item.grad
                item.grad = self.accelerator.reduce(grad, reduction="mean")
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.args.critic_max_grad_norm)
        rate = self.critic_optimizer.param_groups[0]["lr"]
        self._log_part_metrics({"value/grad_norm": norm.item(), "value/learning_rate": rate})  # type: ignore[attr-defined]
        self.critic_optimizer.step()
        self.critic_scheduler.step()
        self.critic_optimizer.zero_grad(set_to_none=True)

    # Checkpoints

    def _save(self, output_dir=None, state_dict=None) -> None:
        with self._policy_adapters_alone():
            super()._save(output_dir, state_dict)  # type: ignore[misc]

    @contextlib.contextmanager
    def _policy_adapters_alone(self) -> Iterator[None]:
        """Save the policy's adapters alone: a saved model is the policy, and nothing that lies beside it.

        peft must know the others all the same: it leaves out of the file what belongs to an adapter that it knows.
        """
        policy = self.accelerator.unwrap_model(self.model)
        names = [name for name in getattr(policy, "peft_config", {}) if name in ("default", "ref")]
        if not names:
            yield
            return
        policy.save_pretrained = functools.partial(policy.save_pretrained, selected_adapters=names)
        try:
            yield
        finally:
            del policy.save_pretrained  # the method of the class again

    def _save_more(self, folder: str) -> None:
        super()._save_more(folder)  # type: ignore[misc]
        if not self.args.should_save:
            return
        weights = {name: value.cpu().contiguous().clone() for name, value in self.critic.state().items()}
        save_file(weights, os.path.join(folder, WEIGHTS_FILE), metadata={"critic": self.critic.kind})
        states = {"optimizer": self.critic_optimizer.state_dict(), "scheduler": self.critic_scheduler.state_dict()}
        torch.save(states, os.path.join(folder, OPTIMIZER_FILE))

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is None:
            return
        path = os.path.join(checkpoint, WEIGHTS_FILE)
        if not os.path.isfile(path):
            raise InputError(f"{checkpoint} has no {WEIGHTS_FILE}: it was not written by a PPO trainer of this kind.")
        with safe_open(path, framework="pt") as file:
            kind = file.metadata()["critic"]
        if kind != self.critic.kind:
            raise InputError(f"{checkpoint} was trained with critic {kind!r}, this run has {self.critic.kind!r}.")
        self.critic.load_state(load_file(path))
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
