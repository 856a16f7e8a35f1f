"""The three kinds of critic behind one interface: the value of the text before each token of a completion."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import nn

from ...errors import InputError
from ..shared_prefix import shared_inputs
from .critic_model import load_critic_model


class ValueHead(nn.Linear):
    """One number from a hidden state, in float32; at the start it says the same for every text, and no noise."""

    def __init__(self, hidden_size: int, initial_value: float = 0.0) -> None:
        super().__init__(hidden_size, 1)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, initial_value)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """[n, T] values of [n, T, hidden_size]."""
        return super().forward(hidden_states.to(self.weight.dtype)).squeeze(-1)


def around_each_token(hidden_states: torch.Tensor, tokens: int) -> torch.Tensor:
    """[n, T + 1, hidden_size] states before each of the last T tokens, where V(s_t) is read, and after them all.

    The state at a position has read that position's token: before the first of T tokens it is the one at -T - 1.
    """
    return hidden_states[:, -tokens - 1 :]


def labelled(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: int, after: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, mask and labels of sequences whose last T tokens each have a value before them.

    A label asks for the state before its token; so does, for the value after a whole completion (`after`), the label of
    one more token at its end, which no other token sees.
    """
    if after:
        input_ids = torch.nn.functional.pad(input_ids, (0, 1))
        attention_mask = torch.nn.functional.pad(attention_mask, (0, 1))
        ends = attention_mask[:, -tokens - 1 :].sum(dim=1, keepdim=True) + input_ids.shape[1] - tokens - 1
        attention_mask = attention_mask.scatter(1, ends.long(), 1)
        tokens += 1
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, :-tokens] = -100
    return input_ids, attention_mask, labels


class Critic:
    """Base of the critics. `parameters` are trained by the critic's own optimizer.

    Attributes:
        sharing_model: the model that says how prompts are shared in the backbone; None where they are not.

    Class attributes:
        kind: its name in the configuration.
        trains_with_policy: whether the value loss joins the policy's backward pass.
    """

    kind: ClassVar[str]
    trains_with_policy: ClassVar[bool] = False
    sharing_model: Any = None

    def __init__(self, trainer: Any, backbone: nn.Module) -> None:
        self.trainer = trainer
        self.backbone = backbone
        head = ValueHead(backbone.config.get_text_config().hidden_size, trainer.args.critic_initial_value)
        self.head = head.to(trainer.accelerator.device)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """What must hold while the critic runs forward and backward."""
        yield

    def values(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: int, after: bool = True
    ) -> torch.Tensor:
        """[n, T + 1] values before each of the last T tokens and after them all, with gradient where it is enabled.

        `after=False` leaves the last column out. On padding the values mean nothing, but for the first after a completion.
        """
        inputs, scores = {"input_ids": input_ids, "attention_mask": attention_mask}, None
        if self.sharing_model is not None:
            found = shared_inputs(self.sharing_model, *labelled(input_ids, attention_mask, tokens, after))
            inputs, scores = (inputs, None) if found is None else found
        with self.trainer.accelerator.autocast():
            hidden = self.backbone(**inputs, use_cache=False).last_hidden_state
        if scores is None:
            values = self.head(around_each_token(hidden, tokens))
            return values if after else values[:, :-1]
        return scores.unpack(self.head(hidden))[:, -tokens - int(after) :]

    def modules(self) -> dict[str, nn.Module]:
        """The modules that a checkpoint holds beside the policy, by name."""
        return {"head": self.head}

    def state(self) -> dict[str, torch.Tensor]:
        """The critic's weights."""
        return {
            f"{name}.{key}": value
            for name, module in self.modules().items()
            for key, value in module.state_dict().items()
        }

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` gave."""
        for name, module in self.modules().items():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            module.load_state_dict(own)

    def parameters(self) -> list[nn.Parameter]:
        """What the critic's optimizer trains."""
        return [item for module in self.modules().values() for item in module.parameters()]


class SeparateCritic(Critic):
    """A model of its own, from the policy's model or from a reward model, whose score head is then the value head."""

    kind = "separate"

    def __init__(self, trainer: Any, source: str) -> None:
        backbone, score = load_critic_model(trainer, source)
        super().__init__(trainer, backbone)
        if score is not None:
            self.head.load_state_dict(score)
        if trainer.share_in(backbone) is not None:
            self.sharing_model = backbone

    def modules(self):
        return {"head": self.head, "backbone": self.backbone}


class SharedHeadCritic(Critic):
    """A head on the policy's last hidden states, caught in the policy's own forward pass of training."""

    kind = "shared_head"
    trains_with_policy = True

    def __init__(self, trainer: Any) -> None:
        policy = trainer.accelerator.unwrap_model(trainer.model)
        policy = policy.get_base_model() if hasattr(policy, "peft_config") else policy
        super().__init__(trainer, policy.base_model)
        if trainer.sharings:
            self.sharing_model = policy
        self.caught: torch.Tensor | None = None
        self.scores: Any = None  # where the caught states belong, None if they are those of the padded batch
        self.backbone.register_forward_hook(self._catch)

    def _catch(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            self.caught = output.last_hidden_state
            self.scores = None if self.sharing_model is None else self.sharing_model.prompt_sharing.scores

    def values_of_policy_pass(self, tokens: int, detach: bool) -> torch.Tensor:
        """[n, T] values before each token from the hidden states of the policy's last forward pass with gradient."""
        assert self.caught is not None
        hidden, scores = self.caught.detach() if detach else self.caught, self.scores
        self.caught = self.scores = None
        if scores is None:
            return self.head(around_each_token(hidden, tokens))[:, :-1]
        return scores.unpack(self.head(hidden))[:, -tokens:]


class AdapterCritic(Critic):
    """A LoRA adapter of its own on the policy's frozen base, and a head: PPO in little more memory than LoRA alone."""

    kind = "adapter"
    NAME = "critic"

    def __init__(self, trainer: Any) -> None:
        self.policy = trainer.accelerator.unwrap_model(trainer.model)
        config = getattr(self.policy, "peft_config", {}).get(getattr(self.policy, "active_adapter", None))
        if getattr(config, "peft_type", None) != "LORA":
            raise InputError(
                "critic 'adapter' is a second LoRA adapter: train the policy with LoRA (`use_peft: true`)."
            )
        self.policy_adapter = self.policy.active_adapter
        self.policy.add_adapter(self.NAME, critic_lora(config))
        super().__init__(trainer, self.policy.get_base_model().base_model)
        if trainer.sharings:
            self.sharing_model = self.policy.get_base_model()
        self.weights = {name: item for name, item in self.policy.named_parameters() if f".{self.NAME}." in name}
        for item in self.weights.values():
            item.data = item.data.float()
        self.policy.set_adapter(self.policy_adapter)
        self._trainable(False)

    def _trainable(self, value: bool) -> None:
        for item in self.weights.values():
            item.requires_grad_(value)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The critic's adapter in the forward pass. peft freezes all others meanwhile; both are as before afterwards."""
        trainable = [item for item in self.policy.parameters() if item.requires_grad]
        self.policy.set_adapter(self.NAME)
        try:
            yield
        finally:
            self.policy.set_adapter(self.policy_adapter)
            self._trainable(False)
            for item in trainable:
                item.requires_grad_(True)

    def state(self):
        return {**super().state(), **{f"adapter.{name}": item.detach() for name, item in self.weights.items()}}

    def load_state(self, state):
        super().load_state(state)
        with torch.no_grad():
            for name, item in self.weights.items():
                item.copy_(state[f"adapter.{name}"])

    def parameters(self):
        return [*super().parameters(), *self.weights.values()]


def critic_lora(policy: Any) -> Any:
    """The critic's LoRA configuration: the policy's, without what would train a copy of whole layers or change the base.

    Dropout would make the values of training differ from those that the advantages were computed with.
    """
    return dataclasses.replace(
        policy, modules_to_save=None, trainable_token_indices=None, lora_dropout=0.0, init_lora_weights=True
    )


def make_critic(trainer: Any, source: str) -> Critic:
    """The critic that the configuration names; `source` is the policy's model."""
    args = trainer.args
    if args.critic == "separate":
        if trainer.is_deepspeed_enabled and trainer.accelerator.state.deepspeed_plugin.zero_stage == 3:
            raise InputError("a separate critic is whole on every process, which ZeRO-3 prevents; use ZeRO-2 or FSDP.")
        return SeparateCritic(trainer, args.critic_model_name_or_path or source)
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise InputError(f"critic {args.critic!r} does not go with FSDP or DeepSpeed; set `critic: separate`.")
    return SharedHeadCritic(trainer) if args.critic == "shared_head" else AdapterCritic(trainer)
