"""The three kinds of critic behind one interface: the value of the text before each token of a completion."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from trl.trainer.utils import disable_dropout_in_model

from ...errors import InputError


class ValueHead(nn.Linear):
    """One number from a hidden state, in float32; zero at the start, so that the first values are 0 and not noise."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size, 1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """[n, T] values of [n, T, hidden_size]."""
        return super().forward(hidden_states.to(self.weight.dtype)).squeeze(-1)


def before_each_token(hidden_states: torch.Tensor, tokens: int) -> torch.Tensor:
    """Hidden states at the position before each of the last `tokens` tokens: where V(s_t) is read, before token t."""
    return hidden_states[:, -tokens - 1 : -1]


class Critic:
    """Base of the critics. `parameters` are trained by the critic's own optimizer."""

    trains_with_policy = False  # whether the value loss joins the policy's backward pass

    def __init__(self, trainer: Any, hidden_size: int) -> None:
        self.trainer = trainer
        self.head = ValueHead(hidden_size).to(trainer.accelerator.device)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """What must hold while the critic runs forward and backward."""
        yield

    def hidden_states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[n, P + T, hidden_size] last hidden states."""
        raise NotImplementedError

    def values(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: int) -> torch.Tensor:
        """[n, T] values of the text before each of the last `tokens` tokens, with gradient where it is enabled."""
        with self.trainer.accelerator.autocast():
            hidden = self.hidden_states(input_ids, attention_mask)
        return self.head(before_each_token(hidden, tokens))

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

    def __init__(self, trainer: Any, source: str) -> None:
        arguments = dict(trainer.args.model_init_kwargs or {})
        arguments.pop("quantization_config", None)
        try:
            config = AutoConfig.from_pretrained(source, trust_remote_code=trainer.args.trust_remote_code)
        except (OSError, ValueError) as error:
            raise InputError(f"`critic_model_name_or_path`: {source} cannot be read ({error}).") from None
        names = config.architectures or []
        scores = any(name.endswith("ForSequenceClassification") for name in names)
        if scores and config.num_labels != 1:
            raise InputError(
                f"`critic_model_name_or_path`: {source} has {config.num_labels} labels; a critic has one."
            )
        loader = AutoModelForSequenceClassification if scores else AutoModel
        model = loader.from_pretrained(source, trust_remote_code=trainer.args.trust_remote_code, **arguments)
        self.backbone = model.base_model if scores else model
        super().__init__(trainer, self.backbone.config.get_text_config().hidden_size)
        if scores:
            score = getattr(model, "score", None) or model.classifier
            self.head.load_state_dict(
                {"weight": score.weight.float(), "bias": torch.zeros(1)}
                if score.bias is None
                else {"weight": score.weight.float(), "bias": score.bias.float()}
            )
        disable_dropout_in_model(self.backbone)
        self.backbone.to(trainer.accelerator.device)
        if trainer.args.gradient_checkpointing:
            self.backbone.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
        self.backbone.train()

    def hidden_states(self, input_ids, attention_mask):
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state

    def modules(self):
        return {"head": self.head, "backbone": self.backbone}


class SharedHeadCritic(Critic):
    """A head on the policy's last hidden states, caught in the policy's own forward pass of training."""

    trains_with_policy = True

    def __init__(self, trainer: Any) -> None:
        policy = trainer.accelerator.unwrap_model(trainer.model)
        self.backbone = (policy.get_base_model() if hasattr(policy, "peft_config") else policy).base_model
        super().__init__(trainer, self.backbone.config.get_text_config().hidden_size)
        self.caught: torch.Tensor | None = None
        self.backbone.register_forward_hook(self._catch)

    def _catch(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            self.caught = output.last_hidden_state

    def values_of_policy_pass(self, tokens: int, detach: bool) -> torch.Tensor:
        """[n, T] values from the hidden states of the policy's last forward pass with gradient."""
        assert self.caught is not None
        hidden, self.caught = before_each_token(self.caught, tokens), None
        return self.head(hidden.detach() if detach else hidden)

    def hidden_states(self, input_ids, attention_mask):
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state


class AdapterCritic(Critic):
    """A LoRA adapter of its own on the policy's frozen base, and a head: PPO in little more memory than LoRA alone."""

    NAME = "critic"

    def __init__(self, trainer: Any) -> None:
        self.policy = trainer.accelerator.unwrap_model(trainer.model)
        if not hasattr(self.policy, "peft_config"):
            raise InputError(
                "critic 'adapter' is a second LoRA adapter: train the policy with LoRA (`use_peft: true`)."
            )
        self.policy_adapter = self.policy.active_adapter
        if self.NAME not in self.policy.peft_config:
            self.policy.add_adapter(self.NAME, self.policy.peft_config[self.policy_adapter])
        self.backbone = self.policy.get_base_model().base_model
        super().__init__(trainer, self.backbone.config.get_text_config().hidden_size)
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

    def hidden_states(self, input_ids, attention_mask):
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state

    def state(self):
        return {**super().state(), **{f"adapter.{name}": item.detach() for name, item in self.weights.items()}}

    def load_state(self, state):
        super().load_state(state)
        with torch.no_grad():
            for name, item in self.weights.items():
                item.copy_(state[f"adapter.{name}"])

    def parameters(self):
        return [*super().parameters(), *self.weights.values()]


def make_critic(trainer: Any, source: str) -> Critic:
    """The critic that the configuration names; `source` is the policy's model."""
    args = trainer.args
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if sharded and args.critic != "separate":
        raise InputError(f"critic {args.critic!r} does not go with FSDP or DeepSpeed; set `critic: separate`.")
    if args.critic == "separate":
        return SeparateCritic(trainer, args.critic_model_name_or_path or source)
    return SharedHeadCritic(trainer) if args.critic == "shared_head" else AdapterCritic(trainer)
