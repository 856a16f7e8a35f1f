"""Load a sequence-classification model (whole, or an adapter on a base) and score token sequences in batches."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from alignkit.errors import InputError
from alignkit.generation import LoadOptions, ModelSource, load_tokenizer
from alignkit.generation.prompts import first_line
from alignkit.generation.transformers_backend import pick_device, pick_dtype


logger = logging.getLogger(__name__)

# What transformers calls the last layer of a sequence-classification model.
HEADS = ("score", "classifier")
# Model outputs [B, ...] and attention mask [B, T] -> [B, C].
Reduction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class LoadedModel:
    """A model with its tokenizer; `max_positions` is the longest sequence that it reads (None: not stated)."""

    model: Any
    tokenizer: Any
    max_positions: int | None


def load_classifier(source: ModelSource, options: LoadOptions) -> LoadedModel:
    """Load `source` as a sequence-classification model, on the CPU or the first accelerator, 4-bit if asked.

    Raises `InputError` where the weights do not load or the score head is not among them (a language model given by
    mistake would otherwise score at random).
    """
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    # An adapter's base is mostly a language model without a head; the head comes with the adapter.
    head = adapter_head(source) if source.is_adapter else {}
    num_labels = {"num_labels": next(iter(head.values()))} if head else {}
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            source.model_path,
            revision=source.model_revision,
            dtype=dtype,
            device_map={"": device},
            quantization_config=quantization if options.load_in_4bit else None,
            trust_remote_code=options.trust_remote_code,
            output_loading_info=True,
            **num_labels,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"reward model {source.model_path} cannot be loaded: {first_line(error)}") from error
    missing = set(info["missing_keys"])
    tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
    if source.is_adapter:
        model = add_adapter(model, source, len(tokenizer))
        missing -= set(head)
    if missing:
        raise InputError(
            f"model {source.name} is no trained sequence-classification model: its weights lack {sorted(missing)[0]}, "
            "which would be drawn at random; give a reward model (for example one trained with trl.RewardTrainer)"
        )
    config = model.config.get_text_config()
    # Where a sequence ends is found by the padding token's id; TRL's RewardTrainer sets it the same way.
    config.pad_token_id = tokenizer.pad_token_id
    return LoadedModel(model.eval(), tokenizer, getattr(config, "max_position_embeddings", None))


def add_adapter(model: Any, source: ModelSource, vocabulary_size: int) -> Any:
    """Put the adapter on its base."""
    from peft import PeftModel

    if vocabulary_size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(vocabulary_size)
    try:
        return PeftModel.from_pretrained(model, source.path, revision=source.revision)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"adapter {source.path} does not fit its base {source.model_path}: {first_line(error)}"
        ) from error


def adapter_head(source: ModelSource) -> dict[str, int]:
    """The parameters of the score head that an adapter brings, by name, with their number of outputs."""
    from peft.utils import load_peft_weights

    names = {f"{module}.{kind}" for module in HEADS for kind in ("weight", "bias")}
    weights = load_peft_weights(source.path, device="cpu", revision=source.revision)
    endings = {".".join(key.split(".")[-2:]): value.shape[0] for key, value in weights.items()}
    return {name: int(outputs) for name, outputs in endings.items() if name in names}


def sequence_logits(
    loaded: LoadedModel,
    sequences: Sequence[Sequence[int]],
    batch_size: int,
    description: str,
    reduce: Reduction = lambda logits, mask: logits,
) -> np.ndarray:
    """Outputs [M, C] of a model for M token sequences, in float64: its logits, passed through `reduce`.

    Batches hold sequences of similar length, the longest first (so that lack of memory shows at once), padded on the
    right. The batches depend on nothing but `sequences` and `batch_size`.
    """
    from tqdm import tqdm

    device = loaded.model.get_input_embeddings().weight.device
    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
    rows: list[np.ndarray | None] = [None] * len(sequences)
    with tqdm(total=len(sequences), desc=description, unit="seq", disable=len(sequences) <= batch_size) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            ids, mask = pad_right([sequences[index] for index in batch], loaded.tokenizer.pad_token_id)
            ids, mask = ids.to(device), mask.to(device)
            with torch.inference_mode():
                outputs = reduce(loaded.model(input_ids=ids, attention_mask=mask).logits, mask)
            for index, row in zip(batch, outputs.to("cpu", torch.float64).numpy(), strict=True):
                rows[index] = row
            bar.update(len(batch))
    return np.array(rows)


def pad_right(sequences: Sequence[Sequence[int]], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask [B, T] of sequences padded on the right."""
    width = max(len(ids) for ids in sequences)
    ids = torch.tensor([[*ids, *[pad_token_id] * (width - len(ids))] for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sequences])
    return ids, mask
