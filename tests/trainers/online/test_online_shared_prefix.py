"""The online trainers compute each prompt once, and no number changes for it."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from launched_runs import launch
from model_weights import largest_difference
from online_worker import build, run
from safetensors.torch import load_file

from alignkit.errors import InputError
from alignkit.trainers.online.prompt_groups import prompt_groups
from alignkit.trainers.online.prompt_sharing import PromptSharingMixin


WORKER = Path(__file__).with_name("online_worker.py")
# SGD, whose steps are as close as the gradients are; Adam makes steps of full size of gradients that are rounding alone.
SETTINGS = {"max_steps": 5, "optim": "sgd", "learning_rate": 0.1, "max_completion_length": 8, "self_checks": False}
ACCUMULATED = {"per_device_train_batch_size": 4, "steps_per_generation": 2, "gradient_accumulation_steps": 2}


def first_reward(completion_ids, **columns):
    """Something that differs among short completions."""
    return [sum(ids) % 7 / 7 for ids in completion_ids]


def second_reward(completion_ids, **columns):
    return [ids[0] % 5 / 5 for ids in completion_ids]


def task(model, folder, key="grpo", lora=False, **config):
    return {"model": model, "key": key, "output_dir": str(folder), "lora": lora, "config": {**SETTINGS, **config}}


def forms(trainer):
    return {sharing.form for sharing in trainer.sharings}


def losses(trainer):
    names = ("loss", "num_tokens", "reward", "completions/mean_length")
    return [[entry.get(name, 0.0) for name in names] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "key, lora, config",
    [
        ("grpo", False, {"beta": 0.1, **ACCUMULATED}),
        ("gdpo", True, {"beta": 0.1, "gradient_checkpointing": True}),
        ("grpo", False, {**ACCUMULATED, "gradient_accumulation_steps": 1, "num_iterations": 2}),
    ],
    ids=["grpo-kl-accumulated", "gdpo-lora-checkpointing", "several-steps-per-batch"],
)
def test_five_steps_with_shared_prompts_give_the_same_weights(bundled_model_dir, tmp_path, key, lora, config):
    rewards = {"reward_funcs": [first_reward, second_reward][: 2 if key == "gdpo" else 1]}
    plain = run(task(bundled_model_dir, tmp_path, key, lora, shared_prefix="off", **config), **rewards)
    shared = run(task(bundled_model_dir, tmp_path, key, lora, **config), **rewards)
    assert plain.sharings == [] and forms(shared) <= {"mask", "grouped"}
    assert largest_difference(plain.model, shared.model) < 1e-5
    for left, right in zip(losses(plain), losses(shared), strict=True):
        assert left == pytest.approx(right, abs=1e-4)
    untrained = build(task(bundled_model_dir, tmp_path, key, lora, shared_prefix="off", **config), **rewards)
    assert largest_difference(plain.model, untrained.model) > 3e-4


@pytest.mark.parametrize(
    "config, whole",
    [
        ({"shared_prefix": "auto"}, True),
        ({"shared_prefix": "off"}, False),
        ({"shared_prefix": "auto", "loss_type": "bnpo"}, False),
        ({"shared_prefix": "auto", "gradient_accumulation_steps": 1}, False),
        ({"shared_prefix": "mask", "gradient_accumulation_steps": 1}, True),
    ],
    ids=["one-step", "off", "token-mean-of-a-micro-batch", "several-steps", "several-steps-by-request"],
)
def test_groups_are_whole_where_no_number_depends_on_it_or_on_request(bundled_model_dir, tmp_path, config, whole):
    settings = {**ACCUMULATED, "max_completion_length": 2, "num_generations": 4, **config}
    trainer = build(task(bundled_model_dir, tmp_path, **settings))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer._prepare_inputs([trainer.train_dataset[row // 4] for row in range(8)])
    groups = [prompt_groups(batch["prompt_ids"], batch["prompt_mask"]) for batch in trainer._buffered_inputs]
    assert [len(found) == 1 for found in groups] == [whole, whole]
    several_steps = trainer.args.gradient_accumulation_steps == 1
    assert any("fewer prompts" in sentence for sentence in trainer.args.warnings()) is (whole and several_steps)


def test_a_pass_over_the_whole_batch_cuts_no_group(bundled_model_dir, tmp_path):
    trainer = build(task(bundled_model_dir, tmp_path, per_device_train_batch_size=12))
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(5, 50, (3, 7), generator=generator).repeat_interleave(4, 0)
    input_ids = torch.cat([prompts, torch.randint(5, 50, (12, 3), generator=generator)], dim=1)
    arguments = (trainer.model, input_ids, torch.ones_like(input_ids), 3)
    with torch.no_grad():
        whole, _, _ = trainer._get_per_token_logps_and_entropies(*arguments)
        assert trainer.passes(*arguments[1:], 5) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        cut, entropies, _ = trainer._get_per_token_logps_and_entropies(*arguments, batch_size=5, compute_entropy=True)
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-5)
    assert entropies.shape == cut.shape == (12, 3)


def test_a_model_that_cannot_share_is_left_alone_or_refused(bundled_model_dir, tmp_path, caplog):
    dropout = {"model_init_kwargs": {"attention_dropout": 0.1}}
    with caplog.at_level(logging.INFO):
        trainer = build(task(bundled_model_dir, tmp_path, **dropout))
    assert trainer.sharings == [] and caplog.text.count("Prompts are not shared") == 1
    with pytest.raises(InputError, match="attention dropout is 0.1"):
        build(task(bundled_model_dir, tmp_path, shared_prefix="grouped", **dropout))


def test_generation_that_knows_no_other_attention_is_not_shared_in(bundled_model_dir, tmp_path):
    paged = {"use_transformers_continuous_batching": True}
    assert build(task(bundled_model_dir, tmp_path, **paged)).sharings == []
    with pytest.raises(InputError, match="continuous_batching"):
        build(task(bundled_model_dir, tmp_path, shared_prefix="mask", **paged))


@pytest.mark.parametrize(
    "mode, half, scattered, generations, expected",
    [
        ("auto", False, True, 4, "auto"),
        ("auto", True, True, 4, "off"),
        ("auto", True, False, 1, "off"),
        ("auto", True, False, 4, "mask"),
        ("auto", True, False, 64, "grouped"),
        ("mask", True, True, 64, "mask"),
    ],
)
def test_in_half_precision_all_passes_of_a_batch_take_one_form(mode, half, scattered, generations, expected):
    class Trainer(PromptSharingMixin):
        _moves_groups = not scattered

    trainer = Trainer()
    trainer.args = SimpleNamespace(shared_prefix=mode, bf16=half, fp16=False, steps_per_generation=2)
    trainer.model, trainer.num_generations = torch.nn.Linear(1, 1), generations
    assert trainer._sharing_form(prompt_width=100, completion_width=30) == expected


@pytest.mark.slow
def test_two_processes_with_shared_prompts_give_the_same_weights(bundled_model_dir, tmp_path):
    for mode in ("off", "grouped"):
        given = task(bundled_model_dir, tmp_path / mode, lora=True, shared_prefix=mode, beta=0.05, **ACCUMULATED)
        finished = launch(WORKER, given, processes=2)
        assert finished.returncode == 0, finished.stderr[-3000:]
    plain, shared = (load_file(tmp_path / mode / "adapter_model.safetensors") for mode in ("off", "grouped"))
    assert plain.keys() == shared.keys()
    assert max((plain[name] - shared[name]).abs().max().item() for name in plain) < 1e-5
