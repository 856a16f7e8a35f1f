"""T-PPO: Truncated Proximal Policy Optimization (arXiv 2506.15050): PPO that does not wait for the longest response."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from accelerate.utils import gather_object

from ...catalog import get
from ...errors import InputError
from ...objectives.sampling import check_tppo
from ...parts.advantages.egae import EGAEAdvantagesConfig
from ...parts.rollout import Advantages
from .base import PPOTrainer
from .config import PPOConfig
from .tppo_rewards import of_finished
from .tppo_slots import PromptStream, SlotBoard, Window


SLOTS_FILE = "tppo_slots.json"


@dataclass
class TPPOConfig(EGAEAdvantagesConfig, PPOConfig):
    r"""Configuration of [`TPPOTrainer`]: that of [`PPOConfig`], the settings of the advantage part `egae`, the window.

    Every completion of a generation batch is a slot; `max_steps` says how long to train, as an epoch of the data loader
    counts windows and not prompts.

    Parameters:
        window_length (`int`):
            Tokens that each slot writes before every update; must be given.
        min_value_rows (`int`, *optional*, defaults to `1`):
            Finished responses below which the critic skips a step.
        epsilon_high (`float`, *optional*, defaults to `0.28`):
            Upper clip range.
        critic_learning_rate (`float`, *optional*, defaults to `2e-6`):
            Of the critic.

    Raises:
        InputError: without `window_length`, and for what makes no sense with windows.
    """

    window_length: int | None = field(
        default=None,
        metadata={
            "help": "Tokens that every slot writes before each update. Must be given. Valid: 1 to `max_completion_length`."
        },
    )
    min_value_rows: int = field(
        default=1,
        metadata={"help": "Finished responses of an update below which the critic skips its step. Valid: at least 1."},
    )
    epsilon_high: float | None = field(
        default=0.28, metadata={"help": "Upper clip range of the ratio. Valid: at least 0; none: `epsilon`."}
    )
    critic_learning_rate: float = field(
        default=2e-6, metadata={"help": "Learning rate of the critic's own AdamW. Valid: above 0."}
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "egae"}

    def __post_init__(self):
        super().__post_init__()
        if self.window_length is None:
            raise InputError(
                "`window_length` is missing: say how many tokens each response gets before every update (from 1 to "
                f"`max_completion_length`, {self.max_completion_length})."
            )
        check_tppo(self.window_length, self.max_completion_length, self.min_value_rows)
        refused = {
            "critic": (self.critic == "shared_head", "policy and critic are updated independently of each other"),
            "num_generations": (
                self.num_generations != 1,
                "slots have no groups: siblings would end at different times",
            ),
            "num_generations_eval": (self.num_generations_eval not in (None, 1), "slots have no groups"),
            "mask_truncated_completions": (
                self.mask_truncated_completions,
                "unfinished responses are what the policy learns from",
            ),
        }
        for slot in ("source", "allocator", "guidance", "replay", "reward_shaping"):
            refused[slot] = (
                slot in self.chosen_parts,
                "the slots choose their prompts and score finished responses alone",
            )
        for name, (is_set, reason) in refused.items():
            if is_set:
                raise InputError(f"`{name}` is {getattr(self, name)!r}, which does not go with T-PPO: {reason}.")

    def warnings(self) -> list[str]:
        sentences = super().warnings()
        if self.max_steps <= 0:
            sentences.append(
                "`max_steps` is not set, and `num_train_epochs` counts windows as if each took new prompts: up to "
                "max_completion_length / window_length times fewer prompts are answered."
            )
        return sentences


class TPPOTrainer(PPOTrainer):
    """PPO in windows: after every `window_length` tokens the policy learns from them, the critic from what has finished.

    Arguments are those of [`PPOTrainer`]. Each completion of a generation batch is a slot, whose response goes on in the
    next window under the next policy until it ends; then the slot takes the next prompt of the data set. What the data
    loader brings is a clock. Evaluation generates whole responses.
    """

    _tag_names = ["alignkit", "trl", "tppo"]
    _name = "T-PPO"
    _paper = get("tppo").paper
    method_key = "tppo"

    args: TPPOConfig
    _window: Window | None = None  # None in evaluation
    _value_rows = 0  # finished responses of this process in the micro-batches of the update at hand

    def __init__(self, model, reward_funcs=None, args: TPPOConfig | None = None, **kwargs):
        if args is None:
            args = TPPOConfig(output_dir=f"outputs/{self.method_key}")
        super().__init__(model, reward_funcs, args, **kwargs)
        if self.tools or self.rollout_func is not None or self.environment_factories is not None:
            raise InputError("T-PPO continues responses token by token; no tools, environments or `rollout_func`.")
        if not hasattr(self.train_dataset, "__len__"):
            raise InputError("T-PPO draws prompts by their row; a streamed data set cannot be drawn from.")
        self.reward_funcs = [
            function if isinstance(function, torch.nn.Module) else of_finished(function, self._finished_rows)
            for function in self.reward_funcs  # type: ignore[has-type]
        ]
        self.board = SlotBoard(
            args.per_device_train_batch_size * args.steps_per_generation,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            PromptStream(len(self.train_dataset), args.shuffle_dataset, args.seed),
            self.max_completion_length,
        )

    # A window

    def _generate_and_score_completions(self, inputs):
        self._window = None
        output = super()._generate_and_score_completions(inputs)
        if self._window is not None:
            self._close(self._window)
        return output

    def _bind_prompts(self, inputs):
        super()._bind_prompts(inputs)
        return [dict(self.train_dataset[slot.row]) for slot in self.board.slots]

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        if not self.model.training:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, **kwargs)
        length, longest = self.args.window_length, self.max_completion_length
        assert length is not None
        before = [slot.completion_ids for slot in self.board.slots]
        rooms = [min(length, longest - len(ids)) for ids in before]
        begun = [[*prompt, *ids] for prompt, ids in zip(prompt_ids, before, strict=True)]
        with self._longest_generation(max(rooms)):
            written, logps = super()._generate_single_turn(begun, images, multimodal_fields, num_generations, **kwargs)
        # Only the last window of a response can have less room than the others.
        written = [ids[:room] for ids, room in zip(written, rooms, strict=True)]
        self._window = self._window_of(before, written, rooms)
        if logps is not None:
            # The policy of an earlier window is no behaviour policy of this one.
            logps = [[None] * len(ids) + own[:room] for ids, own, room in zip(before, logps, rooms, strict=True)]
        return self._window.completion_ids, logps

    @contextmanager
    def _longest_generation(self, tokens: int) -> Iterator[None]:
        """Let what generates write `tokens` at most."""
        place, name = (
            (self.vllm_generation, "max_completion_length")
            if self.use_vllm
            else (self.generation_config, "max_new_tokens")
        )
        known = getattr(place, name)
        setattr(place, name, tokens)
        try:
            yield
        finally:
            setattr(place, name, known)

    def _window_of(self, before: list[list[int]], written: list[list[int]], rooms: list[int]) -> Window:
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        facts = [
            (len(old), len(new), len(new) < room or new[-1] in ends)
            for old, new, room in zip(before, written, rooms, strict=True)
        ]
        gathered = self.accelerator.gather(torch.tensor(facts, device=self.accelerator.device).long()).cpu()
        start, new, ended = gathered.unbind(dim=1)
        unfinished = ~ended.bool() & (start + new < self.max_completion_length)
        ids = [old + new for old, new in zip(before, written, strict=True)]
        return Window(start, new, ended.bool(), unfinished, ids)

    def _close(self, window: Window) -> None:
        """Log the window and let the slots go on."""
        finished = self.board.advance(window, self.state.global_step)
        versions = [len(set(slot.policies)) for slot in finished]
        count, total = self.accelerator.reduce(
            torch.tensor([len(versions), sum(versions)], device=self.accelerator.device), reduction="sum"
        ).tolist()
        lengths = (window.start + window.new)[~window.unfinished]
        metrics = {
            "tppo/finished_share": count / self.board.total,
            "tppo/decode_steps": window.new.max().item(),
            "tppo/window_tokens": window.new.float().mean().item(),
        }
        if count:
            metrics["tppo/policy_versions_per_response"] = total / count
            metrics["tppo/response_length"] = lengths.float().mean().item()
        self._log_part_metrics(metrics)

    # Rewards and advantages

    def _finished_rows(self) -> list[int] | None:
        """Rows of this process whose responses are finished; None: all are."""
        if self._window is None:
            return None
        unfinished = self._window.unfinished[self.board.own].tolist()
        return [row for row, goes_on in enumerate(unfinished) if not goes_on]

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self._window is not None:
            rewards[self._window.unfinished.to(rewards.device)] = torch.nan
        return rewards

    def _after_generation(self, output: dict[str, Any]) -> None:
        if self._window is None or not self._window.unfinished.all():  # the self-checks look at rewards
            super()._after_generation(output)

    def _more_to_load(self, output: dict[str, Any]) -> dict[str, Any]:
        window, device = self._window, output["completion_mask"].device
        rows = len(output["completion_mask"]) * self.accelerator.num_processes
        start = torch.zeros(rows, dtype=torch.long) if window is None else window.start
        unfinished = torch.zeros(rows, dtype=torch.bool) if window is None else window.unfinished
        return {
            **super()._more_to_load(output),
            "window_start": lambda: start.to(device),
            "unfinished": lambda: unfinished.to(device),
        }

    def _place(self, advantages: Advantages, output: dict[str, Any]) -> None:
        super()._place(advantages, output)
        output["value_mask"] = output["value_mask"].to(output["completion_mask"])
        output["value_items"] = self.accelerator.gather(output["value_mask"].sum()).sum()

    # Two updates that do not know each other

    def _value_loss(self, values: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        if self.model.training:
            self._value_rows += int(inputs["value_mask"].any(dim=1).sum())
        own = {**inputs, "tool_mask": inputs["value_mask"], "num_items_in_batch": inputs["value_items"]}
        return super()._value_loss(values, own)

    def _critic_step(self) -> None:
        rows = self.accelerator.reduce(torch.tensor(self._value_rows, device=self.accelerator.device)).item()
        self._value_rows = 0
        learns = rows >= self.args.min_value_rows
        self._log_part_metrics({"tppo/value_steps": float(learns)})
        if learns:
            super()._critic_step()
        else:
            self.critic_optimizer.zero_grad(set_to_none=True)

    # Checkpoints

    def _save_more(self, folder: str) -> None:
        super()._save_more(folder)
        slots = gather_object(self.board.slots)
        if self.args.should_save:
            with open(os.path.join(folder, SLOTS_FILE), "w", encoding="utf-8") as file:
                json.dump(self.board.state(slots), file)

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = os.path.join(checkpoint, SLOTS_FILE)
        if not os.path.isfile(path):
            raise InputError(f"{checkpoint} has no {SLOTS_FILE}: it was not written by T-PPO.")
        with open(path, encoding="utf-8") as file:
            self.board.load(json.load(file))
