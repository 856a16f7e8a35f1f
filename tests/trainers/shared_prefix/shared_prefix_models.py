"""Tiny random models of every shape, and padded batches with labels as TRL's trainers make them."""

import copy

import torch


FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
SIZE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def make_model(kind):
    """A random model without fused head; its weights are large enough for log-probabilities that differ."""
    from transformers import (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        LlamaForCausalLM,
        MistralConfig,
        MistralForCausalLM,
        MixtralConfig,
        MixtralForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    size = {**SIZE, "initializer_range": 0.1}
    torch.manual_seed(0)
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**size, head_dim=12))
    if kind == "qwen3-sliding":
        window = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
        return Qwen3ForCausalLM(Qwen3Config(**size, head_dim=12, **window))
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**size))
    if kind == "mistral":
        return MistralForCausalLM(MistralConfig(**size, sliding_window=5))
    if kind == "gemma3":
        layers = ["sliding_attention", "full_attention"]
        return Gemma3ForCausalLM(Gemma3TextConfig(**size, head_dim=12, sliding_window=5, layer_types=layers))
    if kind == "mixtral":
        return MixtralForCausalLM(MixtralConfig(**size, num_local_experts=4, num_experts_per_tok=2))
    raise ValueError(kind)


def padded_and_shared(kind, dtype=torch.float32, outputs=FIELDS):
    """The same model twice, with TRL's fused head: as TRL runs it, and with `prompt_sharing`."""
    from trl.trainer.utils import add_fused_lm_head

    from alignkit.trainers.shared_prefix import share_prompts

    padded = make_model(kind).to(dtype).eval()
    shared = copy.deepcopy(padded)
    for model in (padded, shared):
        add_fused_lm_head(model, outputs=outputs)
    assert share_prompts(shared) is not None
    return padded, shared


def padded_batch(groups, side="left", seed=0):
    """Inputs of a pass from [(prompt length, [completion lengths])].

    `side` is where the prompts are padded: "left" as in GRPO (completions begin at one place), "right" as in DPO.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length, completions in groups:
        prompt = torch.randint(3, 97, (length,), generator=generator)
        rows += [(prompt, torch.randint(3, 97, (count,), generator=generator)) for count in completions]
    start = max(len(prompt) for prompt, _ in rows)
    width = start + max(len(completion) for _, completion in rows)
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (prompt, completion) in enumerate(rows):
        first = start - len(prompt) if side == "left" else 0
        middle, last = first + len(prompt), first + len(prompt) + len(completion)
        ids[row, first:last] = torch.cat([prompt, completion])
        mask[row, first:last] = 1
        labels[row, middle:last] = completion
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def run(model, inputs, **arguments):
    return model(**inputs, use_cache=False, fused_lm_head=True, **arguments)


def log_probs_and_gradients(model, inputs, **arguments):
    """Outputs of a pass, and the gradient of a random combination of its log-probabilities (and the router loss)."""
    model.zero_grad()
    output = run(model, inputs, **arguments)
    weights = torch.randn(output.log_probs.shape, generator=torch.Generator().manual_seed(7))
    loss = (output.log_probs * weights).sum()
    if output.aux_loss is not None:
        loss = loss + output.aux_loss
    loss.backward()
    return output, {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}
