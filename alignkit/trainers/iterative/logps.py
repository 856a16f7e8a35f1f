"""Log-probabilities of given responses under a model, for the KL of the metrics."""

from collections.abc import Sequence
from typing import Any

import torch

from ...generation import LoadOptions, ModelSource, load_tokenizer
from ...generation.prompts import Prompt, encode_prompt
from ...generation.transformers_backend import load_model


def response_logps(
    source: ModelSource, options: LoadOptions, prompts: Sequence[Prompt], token_ids: Sequence[Sequence[int]]
) -> list[float]:
    """Summed log-probability in nats of each response (its tokens as they were sampled) after its prompt."""
    tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
    model = load_model(source, options, vocabulary_size=len(tokenizer))
    sequences = [
        (encode_prompt(tokenizer, prompt, options.chat_template_kwargs), list(ids))
        for prompt, ids in zip(prompts, token_ids, strict=True)
    ]
    order = sorted(range(len(sequences)), key=lambda n: (-len(sequences[n][0]) - len(sequences[n][1]), n))
    sums = [0.0] * len(sequences)
    for start in range(0, len(order), options.batch_size):
        places = order[start : start + options.batch_size]
        for place, value in zip(places, batch_logps(model, [sequences[n] for n in places]), strict=True):
            sums[place] = value
    return sums


@torch.inference_mode()
def batch_logps(model: Any, sequences: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Summed log-probabilities of the second part of each (prompt, response), in float32."""
    device = model.get_input_embeddings().weight.device
    length = max(len(prompt) + len(response) for prompt, response in sequences)
    input_ids = torch.zeros((len(sequences), length), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    is_response = torch.zeros_like(input_ids, dtype=torch.bool)
    for row, (prompt, response) in enumerate(sequences):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor(prompt + response)
        attention_mask[row, :end] = 1
        is_response[row, len(prompt) : end] = True
    logits = model(input_ids=input_ids.to(device), attention_mask=attention_mask.to(device), use_cache=False).logits
    logps = logits[:, :-1].float().log_softmax(-1).gather(-1, input_ids[:, 1:, None].to(device)).squeeze(-1)
    return logps.masked_fill(~is_response[:, 1:].to(device), 0.0).sum(-1).tolist()
