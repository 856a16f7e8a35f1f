"""What goes wrong silently in online training, looked at once before the first step and said in plain sentences."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig
from trl.models import unwrap_model_for_generation

from ..generation.transformers_backend import avoid_packed_kernel
from ..objectives.groups import sum_rewards


logger = logging.getLogger(__name__)

PROBE_PROMPTS = 2
PROBE_TOKENS = 8
# Nats. Float32 kernels agree to about 1e-5; bfloat16 ones have been seen to differ by a few tenths at single tokens.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
HALF_PRECISION_TOLERANCE = 0.5


@dataclass(frozen=True)
class Finding:
    """One check: what was found, as a sentence, and whether it is as it should be."""

    name: str
    sentence: str
    ok: bool = True


def run_self_checks(trainer: Any, rewards: torch.Tensor, output: dict[str, Any]) -> list[Finding]:
    """Look at the first generation batch of a run and log a sentence for each check, a warning where it fails.

    Draws no random number and changes no weight. Every process must call it.

    Args:
        trainer: an `OnlineTrainer`.
        rewards: [N, K] of the batch, NaN where a function gave None.
        output: what TRL made of the batch on this process.
    """
    probe = {name: value for name, value in output.items() if isinstance(value, torch.Tensor) and value.dim() > 0}
    probe = {name: value[:PROBE_PROMPTS] for name, value in probe.items()}
    was_training = trainer.model.training
    avoid_packed_kernel(trainer.model, trained=True)
    trainer.model.eval()
    try:
        findings = [
            check_sampler(trainer, probe),
            *check_adapter(trainer, probe),
            check_reference(trainer, probe),
        ]
    finally:
        trainer.model.train(was_training)
    findings += check_rewards(trainer, rewards)
    if trainer.num_generations > 1:
        findings.append(check_signal(trainer, rewards))
    if trainer.accelerator.is_main_process:
        for finding in findings:
            logger.log(
                logging.INFO if finding.ok else logging.WARNING, "Self-check, %s: %s", finding.name, finding.sentence
            )
    return findings


def tolerance(trainer: Any) -> float:
    """How far two correct computations of a log-probability may lie apart, in nats, at the precision of the run."""
    dtype = next(trainer.model.parameters()).dtype
    if trainer.args.bf16 or trainer.args.fp16 or dtype not in TOLERANCE:
        return HALF_PRECISION_TOLERANCE
    return TOLERANCE[dtype]


def check_sampler(trainer: Any, probe: dict[str, torch.Tensor]) -> Finding:
    """Do what generates and what trains agree on log-probabilities?"""
    if "sampling_per_token_logps" in probe:
        sampled, trained = probe["sampling_per_token_logps"], trainer._token_logps(probe)
        mask, source = probe["completion_mask"].bool() & ~sampled.isnan(), "vLLM"
    else:
        sampled, trained, mask = generate_probe(trainer, probe)
        source = "generation"
    if not mask.any():
        return Finding("sampler", "no token could be compared.", ok=False)
    largest = (sampled - trained)[mask].abs().max().item()
    limit = tolerance(trainer)
    sentence = f"{source} and training agree on log-probabilities to {largest:.1e} nats (largest of {mask.sum().item()} tokens)."
    if largest <= limit:
        return Finding("sampler", sentence)
    return Finding(
        "sampler",
        f"{source} and training differ by {largest:.2g} nats at a token (more than {limit:g}): the ratios of the loss "
        "would be wrong. Look for dropout, another dtype, or an attention implementation that ignores padding.",
        ok=False,
    )


def generate_probe(trainer: Any, probe: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Generate a few tokens greedily; their log-probabilities by the sampler and by training, and which tokens count."""
    config = GenerationConfig(
        max_new_tokens=PROBE_TOKENS,
        do_sample=False,
        pad_token_id=trainer._tokenizer.pad_token_id,
        eos_token_id=trainer.eos_token_ids,
        output_logits=True,
        return_dict_in_generate=True,
    )
    prompt_ids, prompt_mask = probe["prompt_ids"], probe["prompt_mask"]
    with (
        unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
        ) as model,
        torch.no_grad(),
    ):
        images = trainer._forward_fields(probe)
        generated = model.generate(
            input_ids=prompt_ids, attention_mask=prompt_mask, **images, generation_config=config
        )
    tokens = generated.sequences[:, prompt_ids.shape[1] :]
    logits = torch.stack(generated.logits, dim=1).float() / trainer.args.temperature
    sampled = logits.log_softmax(dim=-1).gather(2, tokens[:, :, None]).squeeze(2)
    is_end = torch.isin(tokens, torch.tensor(trainer.eos_token_ids, device=tokens.device))
    mask = is_end.cumsum(dim=1) - is_end.long() == 0
    batch = {**probe, "completion_ids": tokens, "completion_mask": mask.long()}
    return sampled, trainer._token_logps(batch), mask


def check_adapter(trainer: Any, probe: dict[str, torch.Tensor]) -> list[Finding]:
    """Does the adapter take part in the forward pass, or is it zero because it is new?"""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "peft_config"):
        return []
    trainable = sum(item.numel() for item in model.parameters() if item.requires_grad)
    if trainable == 0:
        return [
            Finding("adapter", "no parameter of the adapter is trainable: training would change nothing.", ok=False)
        ]
    with_adapter = trainer._token_logps(probe)
    with model.disable_adapter():
        without = trainer._token_logps(probe)
    mask = probe["completion_mask"].bool()
    difference = (with_adapter - without)[mask].abs().max().item() if mask.any() else 0.0
    if difference > 0:
        return [Finding("adapter", f"it is live: it moves log-probabilities by up to {difference:.1e} nats.")]
    if is_zero_initialised(model):
        return [Finding("adapter", f"it is new and exactly zero, with {trainable:,} trainable parameters.")]
    return [
        Finding(
            "adapter",
            "it changes no log-probability although it is not zero: it is not in the forward pass.",
            ok=False,
        )
    ]


def is_zero_initialised(model: Any) -> bool:
    """Whether the second matrix of every trainable LoRA layer is zero, so that the model equals its base."""
    seconds = [item for name, item in model.named_parameters() if item.requires_grad and "lora_B" in name]
    return bool(seconds) and all(not item.detach().any() for item in seconds)


def check_reference(trainer: Any, probe: dict[str, torch.Tensor]) -> Finding:
    """Is the reference the intended one? At the first step of a run the policy has not moved from it yet."""
    reference = trainer.reference_logps(probe)
    if reference is None:
        return Finding("reference", "there is none, because no KL to it is asked for (`beta`, or PPO's `kl_coef`).")
    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.ref_model is not None:
        what = f"the model {trainer.ref_model.config._name_or_path}"
    elif "ref" in getattr(model, "peft_config", {}):
        what = "a frozen copy of the adapter that training starts from"
    else:
        what = "the base model, the adapter switched off"
    mask = probe["completion_mask"].bool()
    distance = (trainer._token_logps(probe) - reference)[mask].abs().max().item() if mask.any() else 0.0
    sentence = f"it is {what}; the policy is {distance:.1e} nats away from it (largest token)."
    starts_here = trainer.state.global_step == 0
    if not starts_here or distance <= tolerance(trainer):
        return Finding("reference", sentence)
    return Finding(
        "reference", f"{sentence} Training has not begun, so it should be 0: is it the model you meant?", ok=False
    )


def check_rewards(trainer: Any, rewards: torch.Tensor) -> list[Finding]:
    """Did every reward function return usable numbers?"""
    findings = []
    for name, column in zip(trainer.reward_func_names, rewards.T, strict=True):
        valid = column[~column.isnan()]
        if not len(valid):
            findings.append(Finding(f"reward {name}", f"it scored none of {len(column)} completions.", ok=False))
            continue
        low, high = valid.min().item(), valid.max().item()
        sentence = f"{len(valid)} of {len(column)} completions scored, mean {valid.mean().item():.3g}, from {low:.3g} to {high:.3g}."
        findings.append(Finding(f"reward {name}", sentence, ok=bool(valid.isfinite().all())))
    return findings


def check_signal(trainer: Any, rewards: torch.Tensor) -> Finding:
    """In how many groups do all completions have the same reward, so that plain GRPO learns nothing from them?"""
    total = sum_rewards(rewards, trainer.reward_weights.to(rewards.device))
    groups = total.view(-1, trainer.num_generations)
    flat = [len({value for value in group if value == value}) < 2 for group in groups.tolist()]
    share = sum(flat) / len(flat)
    sentence = f"in {sum(flat)} of {len(flat)} groups all completions have the same reward."
    if share == 1:
        sentence += " Plain GRPO learns nothing from such a batch."
    return Finding("signal", sentence, ok=share < 1)
