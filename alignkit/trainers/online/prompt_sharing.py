"""Each prompt once in the online trainers: which models share, which rows a pass holds, and where a group may lie."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from ...parts.policy_losses.base import is_on_policy
from ..shared_prefix import PromptSharing, share_prompts, share_trainer_prompts
from .prompt_groups import chunks, keep_groups_together, prompt_groups


class PromptSharingMixin:
    """Mixin for `trl.GRPOTrainer`: policy, reference and whatever else reads the completions compute each prompt once.

    The models do it in their own forward pass (`share_prompts`), so TRL's code stays as it is. What is left to do here:

    - TRL shuffles the rows of a generation batch before it cuts it into micro-batches, which scatters the groups. They
      are brought together again where the rows of a micro-batch do not matter (`_moves_groups`).
    - A pass without gradient over the whole batch is cut at the borders of groups.
    - Old, reference and current log-probabilities take the same path, or in half precision their ratios are not 1.

    Attributes:
        sharings: one per model that shares prompts; empty where none does.
    """

    args: Any
    accelerator: Any
    model: Any
    parts: dict[str, Any]
    sharings: list[PromptSharing]
    _step: int
    _buffered_inputs: list[dict[str, Any]] | None

    def open_sharing(self) -> None:
        """Let policy and reference share prompts, as `shared_prefix` says.

        Raises `InputError` where the configuration insists on it and the model does not allow it.
        """
        self.sharings = share_trainer_prompts(self)

    def share_in(self, model: Any) -> PromptSharing | None:
        """Let a further model share prompts where the policy does; `None` where they are not shared."""
        if not self.sharings:
            return None
        bare = self.accelerator.unwrap_model(model)
        sharing = share_prompts(bare, self.args.shared_prefix, self.args.shared_prefix_tokens)
        if sharing is not None:
            self.sharings.append(sharing)
        return sharing

    # Where the rows of a group lie

    @property
    def _moves_groups(self) -> bool:
        """Whether the rows of a group are brought into one micro-batch.

        `auto` does so only where no gradient depends on it: one optimizer step uses the generation batch up, and its loss
        is a sum over completions. (What TRL logs as a mean over micro-batches of their token means, as the entropy, then
        weighs tokens a little otherwise.) With several steps each would see fewer prompts; `mask` and `grouped` accept
        that.
        """
        if not self.sharings:
            return False
        return self.args.shared_prefix != "auto" or (is_on_policy(self.args) and self._loss_is_sum)

    @property
    def _loss_is_sum(self) -> bool:
        """Whether the loss of a completion is the same in whichever micro-batch it is."""
        args, part = self.args, self.parts.get("policy_loss")
        return (
            args.loss_type != "bnpo"
            and args.top_entropy_quantile == 1.0
            and args.entropy_coef == 0.0
            and not args.use_adaptive_entropy
            and not self.aux_loss_enabled  # type: ignore[attr-defined]
            and (part is None or part.row_by_row)
        )

    def _prepare_inputs(self, generation_batch):
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        batches = self._buffered_inputs
        if batches is None or batches is before or len(batches) == 1 or not self._moves_groups:
            return inputs
        self._buffered_inputs = keep_groups_together(batches)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    # Forward passes

    def _sharing_form(self, prompt_width: int, completion_width: int) -> str:
        """The mode of a pass: what the configuration says, but in half precision the same for all passes of a batch.

        The forms round differently. In half precision that is more than the ratios of a loss may differ by, so that there
        `auto` goes by the padded widths, which all passes over a generation batch have in common, and leaves groups alone
        that the micro-batches scatter.
        """
        args, training = self.args, self.model.training
        size = self.num_generations if training else self.num_generations_eval  # type: ignore[attr-defined]
        if args.shared_prefix != "auto" or self._is_full_precision:
            return args.shared_prefix
        scattered = args.steps_per_generation > 1 and not self._moves_groups
        if size == 1 or (scattered and training):
            return "off"
        return "mask" if prompt_width > math.sqrt(size) * completion_width else "grouped"

    @property
    def _is_full_precision(self) -> bool:
        dtype = next(item.dtype for item in self.model.parameters() if item.is_floating_point())
        return not self.args.bf16 and not self.args.fp16 and dtype in (torch.float32, torch.float64)

    def set_sharing_form(self, input_ids: torch.Tensor, tokens: int) -> str:
        """Set the mode of the passes that follow, over [n, P + T] sequences with T `tokens` of completions."""
        form = self._sharing_form(input_ids.shape[1] - tokens, tokens)
        for sharing in self.sharings:
            sharing.mode = form
        return form

    def passes(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: int, size: int) -> list[list[int]]:
        """The rows of each pass over [n, P + T] sequences, `size` of them at most; groups are not cut in vain."""
        rows, form = len(input_ids), self.set_sharing_form(input_ids, tokens)
        if size >= rows:
            return [list(range(rows))]
        if not self.sharings or form == "off":
            return [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]
        groups = prompt_groups(input_ids[:, :-tokens], attention_mask[:, :-tokens])
        return [[row for group in one for row in group] for one in chunks(groups, size)]

    def _get_per_token_logps_and_entropies(
        self,
        model,
        input_ids,
        attention_mask,
        logits_to_keep,
        batch_size=None,
        compute_entropy=False,
        compute_aux_loss=False,
        **images,
    ):
        def compute(rows, size):
            return super(PromptSharingMixin, self)._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model,
                input_ids if rows is None else input_ids[rows],
                attention_mask if rows is None else attention_mask[rows],
                logits_to_keep,
                batch_size=size,
                compute_entropy=compute_entropy,
                compute_aux_loss=compute_aux_loss,
                **images,
            )

        if not self.sharings:
            return compute(None, batch_size)
        passes = self.passes(input_ids, attention_mask, logits_to_keep, batch_size or len(input_ids))
        if len(passes) == 1:
            return compute(None, None)
        parts = [compute(rows, None) for rows in passes]
        logps, entropies, aux_losses = zip(*parts, strict=True)
        return (
            in_order(logps, passes),
            in_order(entropies, passes) if compute_entropy else None,
            torch.stack(aux_losses).mean() if compute_aux_loss else None,
        )


def in_order(parts: Sequence[torch.Tensor], passes: list[list[int]]) -> torch.Tensor:
    """What passes over these rows returned, [k, ...] each, in the order of the rows."""
    values = torch.cat(list(parts))
    rows = torch.tensor([row for rows in passes for row in rows], device=values.device)
    return torch.empty_like(values).index_copy(0, rows, values)
