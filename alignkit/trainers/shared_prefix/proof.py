"""Before prompts are shared in a model: a few tokens, padded and shared, must have the same hidden states."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ...generation.transformers_backend import avoid_packed_kernel


__all__ = ["disagreement"]

# Prompt and completion lengths of the tokens that are tried: ragged, with a group of one.
GROUPS = ((7, (5, 2, 9)), (3, (6,)), (17, (1, 3)))
# Largest difference of the hidden states, as a share of what another prompt changes in them.
EXACT, HALF = 1e-2, 5e-2


@torch.no_grad()
def disagreement(model: Any, forms: tuple[str, ...], shared_inputs: Callable) -> str | None:
    """How far the shared rows are from the padded ones, as the second half of a sentence; `None` where they agree.

    The measure is the mean absolute difference of the hidden states that score some random tokens, as a share of how
    much they change under other prompts. Models whose weights are spread over processes, not there yet or not on their
    device yet are not tried.

    Args:
        model: a model with its `prompt_sharing`, without adapters around it.
        forms: the forms to try.
        shared_inputs: what makes the inputs of the backbone in one form.
    """
    weight = model.get_input_embeddings().weight
    elsewhere = weight.is_meta or type(weight) is not torch.nn.Parameter or hasattr(weight, "ds_id")
    if elsewhere or (weight.device.type == "cpu" and torch.cuda.is_available()):
        return None
    if getattr(model, "is_loaded_in_4bit", False):
        avoid_packed_kernel(model, trained=True)  # a pass in evaluation mode would repack the weights for good
    inputs, other = _tokens(model.config.vocab_size, weight.device)
    sharing = model.prompt_sharing
    mode = sharing.mode
    shared = {}
    with _evaluation(model):
        try:
            padded, moved = (_hidden_states(model, item) for item in (inputs, other))
            for form in forms:
                sharing.mode = form
                found, scores = shared_inputs(model, **inputs)
                places = scores.cells + scores.cells // (inputs["labels"].shape[1] - 1)
                hidden = model.base_model(**found, use_cache=False).last_hidden_state[0].float()
                shared[form] = float((hidden - padded[places]).abs().mean() / (moved - padded)[places].abs().mean())
        except Exception as failure:  # whatever a model of unknown code makes of it
            return f"a trial failed ({type(failure).__name__}: {' '.join(str(failure).split())})"
        finally:
            sharing.mode = mode
    limit = EXACT if weight.dtype in (torch.float32, torch.float64) else HALF
    for form, error in shared.items():
        if not error <= limit:
            return (
                f"a trial gave hidden states that differ between padded and shared rows (form {form!r}) by {error:.2g} of "
                f"what another prompt changes; at most {limit:g} would be rounding"
            )
    return None


def _hidden_states(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """[R * T, hidden size] of the padded batch."""
    batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    output = model.base_model(**batch, position_ids=positions, use_cache=False)
    return output.last_hidden_state.flatten(0, 1).float()


def _tokens(vocabulary: int, device: torch.device) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Inputs of a pass, left-padded so that completions begin at one place, and the same under other prompts."""
    generator = torch.Generator().manual_seed(0)
    width = max(prompt for prompt, _ in GROUPS)
    tail = max(length for _, completions in GROUPS for length in completions)
    rows, labels, masks = [], [], []
    for prompt_length, completions in GROUPS:
        prompt = torch.randint(vocabulary, (prompt_length,), generator=generator)
        for length in completions:
            row, mask = torch.zeros(2, width + tail, dtype=torch.long)
            row[width - prompt_length : width] = prompt
            row[width : width + length] = torch.randint(vocabulary, (length,), generator=generator)
            mask[width - prompt_length : width + length] = 1
            rows.append(row)
            masks.append(mask)
            labels.append(torch.where((mask == 1) & (torch.arange(width + tail) >= width), row, -100))
    ids, attention, scored = (torch.stack(part).to(device) for part in (rows, masks, labels))
    other = torch.where((scored == -100) & (attention == 1), (ids + 1) % vocabulary, ids)
    inputs = {"input_ids": ids, "attention_mask": attention, "labels": scored}
    return inputs, {**inputs, "input_ids": other}


@contextmanager
def _evaluation(model: Any) -> Iterator[None]:
    """Every module in evaluation mode, and as it was afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
