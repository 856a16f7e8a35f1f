"""The critic: a sequence classifier with one output, loaded to be trained or to be read."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from tqdm.auto import tqdm

from ...config import Run
from ...data.bundled import resolve_model
from ...errors import InputError
from ...generation import resolve_source
from ...generation.transformers_backend import avoid_packed_kernel


def critic_source(run: Run) -> str:
    """What the first critic starts from: what the run names, or the policy's base model."""
    named = run.training.critic_model_name_or_path
    if named:
        return named
    source = resolve_source(run.model.model_name_or_path, resolve=resolve_model)
    return source.model_path


def load_critic(run: Run, source: str, vocabulary_size: int, pad_token_id: int, trainable: bool) -> Any:
    """The critic at `source`: a language model (its score head is then zero, so that every value is 1/2), a reward model
    or an adapter that an earlier stage wrote.

    With the run's LoRA and quantisation, where it has them; else in float32, since updates of a critic's learning rate
    are lost in the 8 bits of a bfloat16 mantissa.

    Raises `InputError` for a model that cannot be read, has several outputs, or does not know the policy's tokens.
    """
    from peft import PeftConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from trl import get_peft_config, get_quantization_config

    path = resolve_model(source)
    adapter = path if os.path.isfile(os.path.join(path, "adapter_config.json")) else None
    if adapter is not None:
        path = resolve_model(str(PeftConfig.from_pretrained(adapter).base_model_name_or_path))
    quantization = get_quantization_config(run.model)
    if quantization is not None:
        quantization.llm_int8_skip_modules = ["score"]
    arguments: dict[str, Any] = {
        "dtype": run.model.dtype if run.model.use_peft else torch.float32,
        "attn_implementation": run.model.attn_implementation,
        "trust_remote_code": bool(run.training.trust_remote_code),
        "quantization_config": quantization,
    }
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=arguments["trust_remote_code"])
        trained_head = any(name.endswith("ForSequenceClassification") for name in config.architectures or [])
        if trained_head and config.num_labels != 1:
            raise InputError(f"the critic's model {source} has {config.num_labels} outputs; a critic has one.")
        model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, **arguments)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the critic's model {source} cannot be read ({' '.join(str(error).split())}).") from None
    known = model.config.get_text_config().vocab_size
    if known < vocabulary_size:
        raise InputError(
            f"the critic's model {source} knows {known:,} tokens, the policy's tokenizer {vocabulary_size:,}; the critic "
            "reads the policy's tokens, so take a model of the same family (`critic_model_name_or_path`)."
        )
    if quantization is not None:
        avoid_packed_kernel(model, trained=trainable)
    model.config.get_text_config().pad_token_id = model.config.pad_token_id = pad_token_id
    if not trained_head:
        torch.nn.init.zeros_(model.score.weight)
    if quantization is not None and trainable:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if adapter is not None:
        return PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
    lora = get_peft_config(run.model)
    if lora is None or not trainable:
        return model
    lora.task_type = "SEQ_CLS"  # so that the score head is trained and saved with the adapter
    return get_peft_model(model, lora)


def padded(sequences: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Token sequences as `input_ids` and `attention_mask` [B, T], padded on the right."""
    length = max(map(len, sequences))
    input_ids = torch.full((len(sequences), length), pad_token_id)
    attention_mask = torch.zeros((len(sequences), length), dtype=torch.long)
    for row, ids in enumerate(sequences):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


@torch.inference_mode()
def state_values(model: Any, sequences: Sequence[Sequence[int]], batch_size: int) -> list[float]:
    """V = sigmoid(logit) of each token sequence, longest first in the batches."""
    pad_token_id = model.config.get_text_config().pad_token_id
    device = next(model.parameters()).device
    order = sorted(range(len(sequences)), key=lambda n: (-len(sequences[n]), n))
    values = [0.0] * len(sequences)
    for start in tqdm(range(0, len(order), batch_size), desc="values of candidates"):
        places = order[start : start + batch_size]
        inputs = padded([sequences[n] for n in places], pad_token_id)
        logits = model(**{name: part.to(device) for name, part in inputs.items()}, use_cache=False).logits
        for place, value in zip(places, logits[:, 0].float().sigmoid().tolist(), strict=True):
            values[place] = value
    return values
