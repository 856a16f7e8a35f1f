"""Both methods train every family: the loss begins at log 2, the weights move, the reference does not."""

import math

import pytest
import torch

from alignkit.trainers.diffusion.errors import draw_noise, pair_errors
from alignkit.trainers.diffusion.lora import snapshot


FEW = [("diffusion_dpo", "unet-epsilon", True), ("seppo", "dit-flow", True), ("seppo", "unet-epsilon", False)]
MORE = [
    (key, pipeline, lora)
    for key in ("diffusion_dpo", "seppo")
    for pipeline in ("unet-epsilon", "unet-v", "sdxl", "dit-epsilon", "dit-flow")
    for lora in (True, False)
    if (key, pipeline, lora) not in FEW
]


def everything(denoiser):
    """All weights of a denoiser and which of them are trained."""
    named = dict(denoiser.named_parameters())
    return {name: value.detach().clone() for name, value in named.items()}, {
        name for name, value in named.items() if value.requires_grad
    }


@pytest.mark.parametrize(
    "key, pipeline, lora", [*FEW, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
)
def test_training_moves_what_is_trained_and_nothing_else(build, key, pipeline, lora):
    steps = {"max_steps": 2} if key == "diffusion_dpo" else {}
    trainer = build(key, pipeline, lora=lora, **steps)
    before, trained = everything(trainer.model)
    trainer.train()
    after, still_trained = everything(trainer.model)
    assert trained == still_trained and trained
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name in trained or ".reference." in name for name in moved)
    first, second = (entry for entry in trainer.state.log_history if "loss" in entry)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert math.isfinite(second["loss"])
    assert {"implicit_accuracy", "errors/policy_chosen", "errors/ref_other"} <= set(first)
    if key == "seppo":
        assert first["flip_rate"] == 0 and second["flip_rate"] > 0  # a tie, then not
        assert first["reference_index"] == 0 and second["reference_index"] in (0, 1)


@pytest.mark.parametrize(
    "key, pipeline, lora",
    [
        ("seppo", "unet-epsilon", True),
        ("seppo", "dit-flow", True),
        ("diffusion_dpo", "dit-flow", True),
        ("diffusion_dpo", "unet-epsilon", False),
    ],
)
def test_a_step_leaves_the_reference_and_what_is_trained_as_they_were(build, key, pipeline, lora):
    trainer = build(key, pipeline, lora=lora, **({"max_steps": 1} if key == "diffusion_dpo" else {}))
    if key == "seppo":
        trainer.pool.write(0, snapshot(trainer.model))
    trainer.model.train()
    trainer.before_update()
    (batch,) = trainer.prepare([trainer._encoded(trainer.data_collator([trainer.train_dataset[0]]))])
    pair = trainer.pair(batch)
    noise = draw_noise(pair, len(trainer.family.schedule), True, 0.0, torch.Generator().manual_seed(0))

    def reference_output():
        with trainer.reference.active() as module:
            conditions = {**pair.conditions, "time_ids": pair.first_time_ids}
            return trainer.family.predict(module, pair.first, noise.times, conditions)

    before, (_, trained) = reference_output(), everything(trainer.model)
    errors = pair_errors(trainer.family, trainer.model, trainer.reference, pair, noise, trainer.empty)
    assert not errors.ref_first.requires_grad and not errors.ref_second.requires_grad
    assert errors.policy_first.requires_grad
    trainer.pair_loss(errors).mean().backward()
    torch.optim.SGD([value for value in trainer.model.parameters() if value.requires_grad], lr=10.0).step()
    assert torch.equal(before, reference_output())
    assert everything(trainer.model)[1] == trained
    assert trainer.model.training
    with_gradient = {name for name, value in trainer.model.named_parameters() if value.grad is not None}
    assert with_gradient <= trained


def test_the_policy_is_whole_again_when_the_reference_raises(build):
    trainer = build("seppo")
    _, trained = everything(trainer.model)
    with pytest.raises(RuntimeError), trainer.reference.active():
        assert everything(trainer.model)[1] != trained
        raise RuntimeError
    assert everything(trainer.model)[1] == trained
    assert trainer.model.active_adapters() == ["policy"]


def test_a_disabled_adapter_is_the_reference_of_diffusion_dpo(build):
    trainer = build("diffusion_dpo", max_steps=1)
    latents, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 500])
    conditions = trainer.family.encode_prompt(["a red square", "a blue square"])
    with torch.no_grad():
        base = trainer.family.predict(trainer.model, latents, times, conditions)
        for value in trainer.model.parameters():
            if value.requires_grad:
                value.add_(0.5)
        moved = trainer.family.predict(trainer.model, latents, times, conditions)
    with trainer.reference.active() as module:
        reference = trainer.family.predict(module, latents, times, conditions)
    assert torch.equal(reference, base) and not torch.allclose(moved, base)


@pytest.mark.slow
def test_encoding_each_batch_gives_the_loss_of_the_cache(build):
    losses = []
    for cache in (True, False):
        trainer = build("diffusion_dpo", "sdxl", f"cache-{cache}", max_steps=2, cache_latents=cache)
        trainer.train()
        losses.append([entry["errors/policy_chosen"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_number(build):
    losses = []
    for checkpointing in (True, False):
        trainer = build(
            "diffusion_dpo", folder=f"run-{checkpointing}", max_steps=3, gradient_checkpointing=checkpointing
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_evaluation_draws_the_same_noise_every_time(build):
    trainer = build("seppo", eval_rows=4)
    trainer.pool.write(0, snapshot(trainer.model))
    first, second = trainer.evaluate(), trainer.evaluate()
    assert first["eval_loss"] == second["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["unet-epsilon", "sdxl", "dit-flow"])
def test_mixed_precision_trains_a_float32_adapter_on_16_bit_weights(build, pipeline):
    trainer = build("seppo", pipeline, bf16=True, num_sample_prompts=1, dtype=torch.bfloat16, ema_decay=0.9)
    assert {value.dtype for value in trainer.model.parameters()} == {torch.float32, torch.bfloat16}
    trainer.train()
    assert {value.dtype for value in snapshot(trainer.model).values()} == {torch.float32}
    first, second = (entry for entry in trainer.state.log_history if "loss" in entry)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6) and math.isfinite(second["loss"])
